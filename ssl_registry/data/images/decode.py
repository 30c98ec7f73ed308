"""Images to tensors of one size: the centred square, resized with antialiasing."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from ssl_registry.data.images.pixels import Pixels, fit, is_array, read_array
from ssl_registry.data.statistics import Statistics

__all__ = ["GRAY_STATISTICS", "RGB_STATISTICS", "decode", "photograph", "resize", "to_tensor"]

# ImageNet's mean and std, which nearly every published RGB backbone was trained with; for grey, their means.
RGB_STATISTICS: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GRAY_STATISTICS: Statistics = ((0.449,), (0.226,))

CHUNK = 1024  # images resized at a time


def decode(data: bytes, *, size: int, pixels: Pixels) -> Tensor:
    """Read an image as [channels, size, size]: uint8, or float32 in [0, 1] where 8 bits would lose something.

    Args:
        data: the bytes of an image file.
        size: side in pixels of the centred square.
        pixels: channels and depth.

    Raises:
        Exception: whatever the readers raise for what is no image, or a broken one.
    """
    if not pixels.usual or is_array(data):
        whole = torch.from_numpy(np.ascontiguousarray(photograph(data, pixels).transpose(2, 0, 1)))
        return resize(whole[None], size)[0]
    with Image.open(BytesIO(data)) as image:
        # A JPEG can be decoded at a half, a quarter or an eighth of its size for a fraction of the time;
        # twice the wanted size is kept for the antialiased resize. Other formats ignore it.
        image.draft("L" if pixels.channels == 1 else "RGB", (2 * size, 2 * size))
        return to_tensor(image, size=size, channels=pixels.channels)


def photograph(data: bytes, pixels: Pixels) -> NDArray[Any]:
    """Read an image whole and upright: [height, width, channels], uint8 or float32 in [0, 1].

    Raises:
        Exception: as `decode`.
    """
    if not pixels.usual or is_array(data):
        return fit(read_array(data), pixels)
    with Image.open(BytesIO(data)) as image:
        return _as_array(_upright(image, pixels.channels), pixels.channels)


def to_tensor(image: Image.Image, *, size: int, channels: int) -> Tensor:
    """Turn a Pillow image upright, take its centred square and resize it: uint8 [channels, size, size]."""
    whole = _upright(image, channels)
    if whole.size != (size, size):
        side = min(whole.size)
        left, top = (whole.width - side) / 2, (whole.height - side) / 2
        box = (left, top, left + side, top + side)
        whole = whole.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return torch.from_numpy(_as_array(whole, channels)).permute(2, 0, 1).contiguous()


def _upright(image: Image.Image, channels: int) -> Image.Image:
    # Phones store the camera's turn beside the pixels.
    return _convert(ImageOps.exif_transpose(image), "L" if channels == 1 else "RGB")


def _as_array(image: Image.Image, channels: int) -> NDArray[Any]:
    return np.array(image).reshape(image.height, image.width, channels)


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow cuts what exceeds 255 instead of scaling, which turns a 16-bit image white.
        image = Image.fromarray((np.clip(np.asarray(image), 0, 65535) / 257).round().astype(np.uint8))
    elif image.mode == "F":
        # Pillow takes [0, 1] for the lowest two of 256 values.
        image = Image.fromarray(fit(np.asarray(image)[:, :, None], Pixels(1))[:, :, 0])
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def resize(images: Tensor, size: int, *, antialias: bool = True) -> Tensor:
    """Take the centred squares of a batch of images and resize them.

    Args:
        images: [N, C, H, W], uint8 or float32.
        size: the side wanted, in pixels.
        antialias: False for a plain bilinear resize.

    Returns:
        [N, C, size, size], of the same type.
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[..., top : top + side, left : left + side]
    if side == size:
        return images.contiguous()
    out = torch.empty((*images.shape[:2], size, size), dtype=images.dtype)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        sized = interpolate(part.float(), (size, size), mode="bilinear", antialias=antialias)
        out[start : start + CHUNK] = sized.round().clamp(0, 255) if images.dtype == torch.uint8 else sized
    return out
