"""`EncodedPhoto`: the bytes of an image file, decoded at the size that its views need."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_registry.data.images.decode import photograph
from ssl_registry.data.images.pixels import Pixels
from ssl_registry.errors import DataError

try:
    import simplejpeg
except ModuleNotFoundError:  # of the extra `fast`; Pillow takes its place
    simplejpeg = None

__all__ = ["EncodedPhoto"]

Photo = NDArray[np.uint8]

JPEG_MAGIC, EXIF_MAGIC = b"\xff\xd8\xff", b"Exif\0\0"
HEADERS = 1 << 16  # bytes in which EXIF data begin, if there are any
ORIENTATION = 0x0112  # EXIF's tag; 1 is upright
UPRIGHT: dict[int, Callable[[Photo], Photo]] = {
    2: lambda photo: photo[:, ::-1],
    3: lambda photo: photo[::-1, ::-1],
    4: lambda photo: photo[::-1],
    5: lambda photo: photo.transpose(1, 0, 2),
    6: lambda photo: photo[::-1].transpose(1, 0, 2),
    7: lambda photo: photo[::-1, ::-1].transpose(1, 0, 2),
    8: lambda photo: photo[:, ::-1].transpose(1, 0, 2),
}


class EncodedPhoto:
    """An image file of which height and width are known and pixels are decoded on request, upright.

    JPEG of grey or RGB is read by simplejpeg where that is installed, in two thirds of Pillow's time, and at a half, a
    quarter or an eighth of its size in less still. Everything else is read by the same readers as `images.decode`.

    Args:
        data: the bytes of the file.
        pixels: what the images of the set have in common; uint8.

    Raises:
        Exception: whatever the readers raise for what is no image, or a broken one.
    """

    def __init__(self, data: bytes, pixels: Pixels) -> None:
        self.data = data
        self.pixels = pixels
        self._whole: Photo | None = None
        self._orientation = 1
        if self._is_plain_jpeg():
            self._orientation = _orientation(data)
        else:
            self._whole = photograph(data, pixels)
            self.height, self.width = self._whole.shape[:2]
        if self._orientation >= 5:
            self.height, self.width = self.width, self.height

    def _is_plain_jpeg(self) -> bool:
        if simplejpeg is None or not self.pixels.usual or not self.data.startswith(JPEG_MAGIC):
            return False
        self.height, self.width, colors, _ = simplejpeg.decode_jpeg_header(self.data)
        # As Pillow, which has a user's own limit in the same place; None switches it off.
        if Image.MAX_IMAGE_PIXELS is not None and self.height * self.width > 2 * Image.MAX_IMAGE_PIXELS:
            raise DataError(f"{self.height} x {self.width} pixels are more than Pillow's limit, Image.MAX_IMAGE_PIXELS")
        return colors in ("RGB", "YCbCr", "Gray")

    def decode(self, shrink: int) -> tuple[Photo, int]:
        """Decode, at 1/shrink of the size where the format can.

        Args:
            shrink: 1, 2, 4 or 8.

        Returns:
            uint8 [height, width, channels], and by what each side was divided (and rounded up).
        """
        if self._whole is not None:
            return self._whole, 1
        turned = self._orientation >= 5
        height, width = (self.width, self.height) if turned else (self.height, self.width)
        photo: Photo = simplejpeg.decode_jpeg(
            self.data,
            "RGB" if self.pixels.channels == 3 else "GRAY",
            min_height=-(-height // shrink) if shrink > 1 else 0,
            min_width=-(-width // shrink) if shrink > 1 else 0,
        )
        if self._orientation != 1:
            photo = np.ascontiguousarray(UPRIGHT[self._orientation](photo))
        return photo, shrink


def _orientation(data: bytes) -> int:
    if data.find(EXIF_MAGIC, 0, HEADERS) < 0:
        return 1
    with Image.open(BytesIO(data)) as image:
        found = image.getexif().get(ORIENTATION, 1)
    return found if found in UPRIGHT else 1
