"""Colour of a batch of images, exact: torchvision's operations, order and clamping, with a factor for each image.

Every function takes float [B, C, H, W] in [0, 1] and factors [B], and returns new images in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation", "grayscale", "solarize"]

# Weights of red, green and blue in the luma of ITU-R BT.601, as torchvision and PIL have them.
LUMA = (0.2989, 0.587, 0.114)


def grayscale(images: Tensor) -> Tensor:
    """Return the luma [B, 1, H, W] of RGB images; grey images are their own."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply."""
    return (images * _each(factor)).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with each image's mean luma; factor 0 gives that, 1 the image."""
    mean = grayscale(images).mean((1, 2, 3), keepdim=True)
    return _blend(images, mean, factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with each pixel's luma; factor 0 gives a grey image, 1 the image."""
    return _blend(images, grayscale(images), factor)


def adjust_hue(images: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue in HSV; factor in [-0.5, 0.5] is the share of a full turn."""
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    chroma = value - images.amin(1)
    # Hue in sixths of a turn, counted from the largest component; grey pixels have none.
    spread = torch.where(chroma == 0, 1, chroma)
    hue = torch.where(
        value == red,
        (green - blue) / spread,
        torch.where(value == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    hue = hue + 6 * factor[:, None, None]
    # Each component of an HSV colour is its value, less the chroma where its own hue is far away.
    return torch.stack([_component(value, chroma, hue + n) for n in (5, 3, 1)], 1).clamp(0, 1)


def _component(value: Tensor, chroma: Tensor, place: Tensor) -> Tensor:
    place = place - 6 * (place / 6).floor()  # torch.remainder is twenty times slower on a CPU
    return value - chroma * torch.minimum(place, 4 - place).clamp(0, 1)


def solarize(images: Tensor, threshold: float) -> Tensor:
    """Invert what is at or above the threshold."""
    return torch.where(images >= threshold, 1 - images, images)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    factor = _each(factor)
    return (factor * images + (1 - factor) * other).clamp(0, 1)


def _each(factor: Tensor) -> Tensor:
    return factor[:, None, None, None]
