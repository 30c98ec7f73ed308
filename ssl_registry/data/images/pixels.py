"""`Pixels`: what the images of a set have in common; and images stored as plain arrays: TIFF of any bands, ``.npy``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ssl_registry._system.optional import require
from ssl_registry.errors import DataError

__all__ = ["GRAY_MODES", "Pixels", "fit", "is_array", "pixels_of", "read_array", "shorter_side"]

GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
DEEP_MODES = frozenset(mode for mode in GRAY_MODES if mode.startswith(("I", "F")))
NPY_MAGIC = b"\x93NUMPY"
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: BigTIFF
BITS_PER_SAMPLE, SAMPLES_PER_PIXEL = 258, 277  # tags of TIFF
# An image of a few pixels may grow as it likes; a larger one that grows more than a hundredfold is refused.
MOST_BYTES, MOST_GROWTH = 2**28, 100
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's


@dataclass(frozen=True)
class Pixels:
    """What every image of a set becomes.

    Args:
        channels: 1 for grey, 3 for RGB, or the number of bands.
        depth: 8 for uint8; 16 for float32 in [0, 1], which loses nothing of 16-bit and float images.
        value_range: of 16-bit and float images, the stored values that become 0 and 1; None for 0 and 65,535, of floats
            0 and 1.
    """

    channels: int
    depth: Literal[8, 16] = 8
    value_range: tuple[float, float] | None = None

    @property
    def usual(self) -> bool:
        """Whether these are photographs as Pillow and JPEG know them: grey or RGB, uint8."""
        return self.depth == 8 and self.channels in (1, 3)


def is_array(data: bytes) -> bool:
    """Whether an image is read as an array, since Pillow does not know its kind: ``.npy``, and TIFF of many bands."""
    if not data.startswith(TIFF_MAGICS):
        return data.startswith(NPY_MAGIC)
    try:
        with Image.open(BytesIO(data)) as image:
            bands = image.getbands()
            tags, pages = image.tag_v2, image.n_frames  # type: ignore[attr-defined]  # a TIFF has both
            # Pillow opens the first band, or the first three, of more, and 8 bits of 16 in three bands. Grey pages
            # are bands; pages of colour are an album.
            deep = len(bands) > 1 and max(tags.get(BITS_PER_SAMPLE, (8,))) > 8
            signed = image.mode == "I"  # whose range Pillow does not tell: bytes in 32 bits, or more
            return bool(
                deep or signed or tags.get(SAMPLES_PER_PIXEL, 1) != len(bands) or (pages > 1 and len(bands) == 1)
            )
    except UnidentifiedImageError:
        return True


def pixels_of(data: bytes) -> Pixels:
    """Tell channels and depth of one image.

    Raises:
        Exception: whatever the readers raise for what is no image.
    """
    if is_array(data):
        array = read_array(data)
        return Pixels(array.shape[2], 8 if array.dtype in (np.uint8, np.bool_) or _holds_bytes(array) else 16)
    with Image.open(BytesIO(data)) as image:
        return Pixels(1 if image.mode in GRAY_MODES else 3, 16 if image.mode in DEEP_MODES else 8)


def shorter_side(data: bytes) -> int:
    """Return the shorter side of one image, in pixels.

    Raises:
        Exception: whatever the readers raise for what is no image.
    """
    if is_array(data):
        height, width, *_ = read_array(data).shape
        return int(min(height, width))
    with Image.open(BytesIO(data)) as image:
        return min(image.size)


def _holds_bytes(array: NDArray[Any]) -> bool:
    """Whether whole numbers of a wider type than 16 bits need are 8-bit values, as NumPy writes them by default."""
    return array.dtype.kind in "ui" and array.dtype != np.uint16 and bool(array.min() >= 0 and array.max() <= 255)


def read_array(data: bytes) -> NDArray[Any]:
    """Read one image as stored: [height, width, channels], of the file's own type.

    Raises:
        MissingExtraError: if a TIFF needs tifffile and that is not installed.
        DataError: if the array is no image, or one that was made to fill the memory.
        Exception: whatever the readers raise.
    """
    if data.startswith(NPY_MAGIC):
        # A header may promise more than follows it.
        _check_growth(_npy_bytes(data), len(data))
        return _channels_last(np.load(BytesIO(data), allow_pickle=False))
    if data.startswith(TIFF_MAGICS):
        tifffile = require("tifffile", "tiff", "a TIFF of other than 8-bit grey, RGB or RGBA")
        with tifffile.TiffFile(BytesIO(data)) as file:
            _check_growth(int(file.series[0].nbytes), len(data))
            return _channels_last(file.asarray())
    with Image.open(BytesIO(data)) as image:
        plain = image.mode in ("L", "RGB") or image.mode in DEEP_MODES
        return _channels_last(np.asarray(image if plain else image.convert("L" if image.mode in GRAY_MODES else "RGB")))


def _check_growth(decoded: int, encoded: int) -> None:
    """Refuse an image that grows beyond all measure when it is decoded; photographs grow about twentyfold.

    Args:
        decoded, encoded: bytes of the pixels, and of the file.

    Raises:
        DataError: saying so.
    """
    if decoded > MOST_BYTES and decoded > MOST_GROWTH * encoded:
        raise DataError(
            f"{encoded / 2**20:.2g} MB become {decoded / 2**30:.1f} GB of pixels; no picture does, a file that is to "
            "fill the memory does"
        )


def _npy_bytes(data: bytes) -> int:
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return math.prod(shape) * dtype.itemsize


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    """Tell [H, W, C] from [C, H, W] by the smallest axis."""
    array = array[0] if array.ndim == 4 else array  # the first page
    if array.ndim == 2:
        return array[:, :, None]
    if array.ndim != 3 or array.size == 0:
        raise DataError(f"an array of shape {array.shape} is no image; expected [height, width, channels]")
    return array if array.shape[2] <= array.shape[0] else array.transpose(1, 2, 0)


def fit(array: NDArray[Any], pixels: Pixels) -> NDArray[Any]:
    """Bring an image of any type to what its set has in common.

    uint8 counts to 255, and so do wider integers than uint16 in a set of 8-bit images; other integers count to 65,535
    and floats reach from 0 to 1; or all but uint8 and booleans as ``pixels.value_range`` has it. They are scaled, never
    cut off.

    Args:
        array: [height, width, channels].
        pixels: what it becomes.

    Returns:
        [height, width, pixels.channels], uint8 or float32 in [0, 1].

    Raises:
        DataError: if its range or its number of channels does not fit.
    """
    array = _fit_channels(array, pixels.channels)
    if array.dtype == np.uint8 and pixels.depth == 8:
        return array
    if pixels.value_range is not None and array.dtype.kind in "uif" and array.dtype != np.uint8:
        return _in_range(array, *pixels.value_range)
    if array.dtype == np.bool_:
        scale = 1.0
    elif array.dtype.kind in "ui":
        wide = array.dtype != np.uint16 and pixels.depth == 8
        scale = 255.0 if array.dtype == np.uint8 or wide else 65535.0
    elif array.dtype.kind != "f":
        raise DataError(f"{array.dtype} is no type of images; expected integers, or floats in [0, 1]")
    else:
        scale = 1.0
    share = array.astype(np.float32) / np.float32(scale)
    low, high = float(share.min()), float(share.max())
    if not 0 <= low <= high <= 1:
        raise DataError(
            f"{array.dtype} values from {low * scale:g} to {high * scale:g}; expected 0 to 65,535, or floats in "
            "[0, 1], else their range: --data.range LOW,HIGH"
        )
    return share if pixels.depth == 16 else (share * 255).round().astype(np.uint8)


def _in_range(array: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    found = float(array.min()), float(array.max())
    if not low <= found[0] <= found[1] <= high:
        raise DataError(
            f"{array.dtype} values from {found[0]:g} to {found[1]:g}, and the set is read from {low:g} to {high:g}; "
            "give a range that holds all of them: --data.range LOW,HIGH"
        )
    return (array.astype(np.float32) - np.float32(low)) / np.float32(high - low)


def _fit_channels(array: NDArray[Any], channels: int) -> NDArray[Any]:
    has = array.shape[2]
    if has == channels:
        return array
    if has == 1 and channels == 3:
        return array.repeat(3, axis=2)
    if has == 4 and channels == 3:
        return array[:, :, :3]
    if has in (3, 4) and channels == 1:
        grayscale = array[:, :, :3].astype(np.float32) @ LUMA
        return (grayscale.round() if array.dtype.kind in "ui" else grayscale).astype(array.dtype)[:, :, None]
    raise DataError(f"it has {has} channels, the set has {channels}")
