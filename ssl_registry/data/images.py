"""Images to uint8 tensors of one size: the centred square, resized with antialiasing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["GREY_STATISTICS", "RGB_STATISTICS", "channels_of", "decode", "resize", "to_tensor"]

Statistics = tuple[tuple[float, ...], tuple[float, ...]]

# ImageNet's mean and std, which nearly every published RGB backbone was trained with; for grey, their means.
RGB_STATISTICS: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GREY_STATISTICS: Statistics = ((0.449,), (0.226,))

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
CHUNK = 1024  # images resized at a time


def decode(path: Path, *, size: int, channels: int) -> Tensor:
    """Read an image file as uint8 [channels, size, size].

    Raises:
        Exception: whatever Pillow raises for a file that is no image, or a broken one.
    """
    with Image.open(path) as image:
        # A JPEG can be decoded at a half, a quarter or an eighth of its size for a fraction of the time;
        # twice the wanted size is kept for the antialiased resize. Other formats ignore it.
        image.draft("L" if channels == 1 else "RGB", (2 * size, 2 * size))
        return to_tensor(image, size=size, channels=channels)


def to_tensor(image: Image.Image, *, size: int, channels: int) -> Tensor:
    """Turn a Pillow image upright, take its centred square and resize it: uint8 [channels, size, size]."""
    upright = ImageOps.exif_transpose(image)  # phones store the camera's turn beside the pixels
    pixels = _convert(upright, "L" if channels == 1 else "RGB")
    if pixels.size != (size, size):
        side = min(pixels.size)
        left, top = (pixels.width - side) / 2, (pixels.height - side) / 2
        box = (left, top, left + side, top + side)
        pixels = pixels.resize((size, size), Image.Resampling.BILINEAR, box=box)
    array = np.array(pixels).reshape(size, size, channels)
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow cuts what exceeds 255 instead of scaling, which turns a 16-bit image white.
        image = Image.fromarray((np.clip(np.asarray(image), 0, 65535) / 257).round().astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def channels_of(path: Path) -> int:
    """Return 1 for a grey image file, else 3, from its header alone.

    Raises:
        Exception: as `decode`.
    """
    with Image.open(path) as image:
        return 1 if image.mode in GREY_MODES else 3


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
