"""Where a view looks: crops, resizing, flips and small affine motions, a whole batch at once.

Resizing is antialiased: each output pixel averages a triangle of input pixels as wide as the scale, as PIL and
torchvision (``antialias=True``) do. The triangle is separable, so a crop with its resize and flip is two matrix
products with one pair of matrices a sample.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.views.random import Random

__all__ = ["affine", "crop_resize", "draw_boxes", "resize"]

# Attempts at a box whose random area and aspect ratio fit into the image, as in torchvision.
TRIES = 10


def draw_boxes(
    count: int, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], random: Random
) -> Tensor:
    """Draw boxes of random area and aspect ratio, distributed as torchvision's ``RandomResizedCrop``.

    Args:
        count: how many.
        height, width: of the image, in pixels.
        scale: least and greatest share of its area.
        ratio: least and greatest width / height; its logarithm is uniform.
        random: where the numbers come from.

    Returns:
        int64 [count, 4]: top, left, height, width. Where no attempt fits, the largest central box whose aspect ratio
        is in range.
    """
    area = height * width * random.uniform(*scale, (count, TRIES))
    aspect = torch.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1]), (count, TRIES)))
    wide, high = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    first = fits.byte().argmax(1, keepdim=True)  # the first attempt that fits; 0 where none does
    wide, high, found = (choice.gather(1, first)[:, 0] for choice in (wide, high, fits))
    whole = width / height
    wide = torch.where(found, wide, round(height * ratio[1]) if whole > ratio[1] else width)
    high = torch.where(found, high, round(width / ratio[0]) if whole < ratio[0] else height)
    # A uniform number below 1 picks a corner; central boxes have half of what is left.
    place = torch.where(found[:, None], random.uniform(0, 1, (count, 2)), 0.5)
    left = ((width - wide + found) * place[:, 0]).floor().long()
    top = ((height - high + found) * place[:, 1]).floor().long()
    return torch.stack([top, left, high, wide], 1)


def crop_resize(images: Tensor, boxes: Tensor, size: tuple[int, int], flip: Tensor | None = None) -> Tensor:
    """Cut a box out of each image and resize it, antialiased.

    Args:
        images: float [B, C, H, W].
        boxes: int64 [B, 4]: top, left, height, width, in pixels and inside the image.
        size: height and width of the result.
        flip: bool [B], mirrors left and right; None for none.

    Returns:
        [B, C, *size]; like ``torchvision.transforms.v2.functional.resized_crop(..., antialias=True)`` within 1e-5.
    """
    rows = _weights(boxes[:, 0], boxes[:, 2], images.shape[2], size[0])  # [B, h, H]
    columns = _weights(boxes[:, 1], boxes[:, 3], images.shape[3], size[1])  # [B, w, W]
    if flip is not None:
        columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    # Height first: [B, 1, h, H] @ [B, C, H, W] @ [B, 1, W, w].
    return rows[:, None].to(images.dtype) @ images @ columns[:, None].mT.to(images.dtype)


def _weights(start: Tensor, length: Tensor, inside: int, outside: int) -> Tensor:
    """The share of each input pixel in each output pixel along one axis, [B, outside, inside]."""
    device = start.device
    scale = length[:, None, None] / outside  # input pixels an output pixel
    centre = start[:, None, None] + (torch.arange(outside, device=device)[None, :, None] + 0.5) * scale
    pixel = torch.arange(inside, device=device)[None, None, :]
    weights = (1 - (pixel + 0.5 - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    # What lies outside of the box was cut off before the resize.
    weights = weights * ((pixel >= start[:, None, None]) & (pixel < (start + length)[:, None, None]))
    return weights / weights.sum(-1, keepdim=True)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize whole images, antialiased: float [B, C, H, W] to [B, C, *size]."""
    if images.shape[2:] == size:
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True)


def affine(images: Tensor, degrees: Tensor, shift: Tensor, zoom: Tensor) -> Tensor:
    """Rotate, shift and zoom each image about its centre; what comes from outside is 0.

    Args:
        images: float [B, C, H, W].
        degrees: [B], counter-clockwise.
        shift: [B, 2], to the right and down, in pixels.
        zoom: [B]; above 1 makes the content larger.

    Returns:
        [B, C, H, W], bilinear; like torchvision's ``affine`` with angle ``-degrees`` within 1e-4.
    """
    height, width = images.shape[2:]
    angle = degrees.deg2rad()
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    x = torch.arange(width, device=images.device) + 0.5 - width / 2
    y = torch.arange(height, device=images.device) + 0.5 - height / 2
    # For each output pixel, where in the input it comes from, in pixels from the centre.
    x = x[None, None, :] - shift[:, 0, None, None]
    y = y[None, :, None] - shift[:, 1, None, None]
    cos, sin = cos[:, None, None], sin[:, None, None]
    source_x, source_y = cos * x - sin * y, sin * x + cos * y
    grid = torch.stack([source_x * (2 / width), source_y * (2 / height)], -1)
    return F.grid_sample(images, grid.to(images.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)
