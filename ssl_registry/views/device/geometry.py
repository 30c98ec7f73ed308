"""Where a view looks: crops, resizing, flips and small affine motions, a whole batch at once.

Resizing is antialiased: each output pixel averages a triangle of input pixels as wide as the scale, as PIL and
torchvision (``antialias=True``) do. The triangle is separable, so a crop with its resize and flip is two matrix
products with one pair of matrices a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["affine", "crop_resize", "resize"]

# torch's antialiased resize of uint8 scales its 16-bit weights by at most 2**22 (torch's UpSampleKernel.cpp).
MAX_FRACTION_BITS = 22


def crop_resize(
    images: Tensor, boxes: Tensor, size: tuple[int, int], flip: Tensor | None = None, *, whole: bool = False
) -> Tensor:
    """Cut a box out of each image and resize it, antialiased.

    Args:
        images: float [B, C, H, W].
        boxes: int64 [B, 4]: top, left, height, width, in pixels and inside the image.
        size: height and width of the result.
        flip: bool [B], mirrors left and right; None for none.
        whole: the images are whole grey levels from 0 to 255, and so is the result, as torchvision gives for uint8.

    Returns:
        [B, C, *size]; like ``torchvision.transforms.v2.functional.resized_crop(..., antialias=True)`` within 1e-5;
        equal to it if ``whole``, up to a reduction by 4, and then within one grey level.
    """
    rows = _weights(boxes[:, 0], boxes[:, 2], images.shape[2], size[0], whole)  # [B, h, H]
    columns = _weights(boxes[:, 1], boxes[:, 3], images.shape[3], size[1], whole)  # [B, w, W]
    if flip is not None:
        columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    if whole:
        return _fixed_product(_fixed_product(images, columns).mT, rows).mT
    images = images @ columns[:, None].mT.to(images.dtype)  # [B, C, H, W] @ [B, 1, W, w]
    return rows[:, None].to(images.dtype) @ images  # [B, 1, h, H] @ [B, C, H, w]


def _weights(start: Tensor, length: Tensor, inside: int, outside: int, exact: bool) -> Tensor:
    """The share of each input pixel in each output pixel along one axis, [B, outside, inside]."""
    device, dtype = start.device, torch.float64 if exact else torch.float32
    scale = length[:, None, None].to(dtype) / outside  # input pixels an output pixel
    center = start[:, None, None] + (torch.arange(outside, device=device)[None, :, None] + 0.5) * scale
    pixel = torch.arange(inside, device=device)[None, None, :]
    weights = (1 - (pixel + 0.5 - center).abs() / scale.clamp(min=1)).clamp(min=0)
    # What lies outside of the box was cut off before the resize.
    weights = weights * ((pixel >= start[:, None, None]) & (pixel < (start + length)[:, None, None]))
    return weights / weights.sum(-1, keepdim=True)


def _fixed_product(images: Tensor, weights: Tensor) -> Tensor:
    """Weigh the last axis of whole grey levels in the fixed-point numbers that torch's uint8 kernel works in.

    The weights are 16-bit integers: each is multiplied by the largest power of two for which all of them fit. The
    result is rounded after each axis. Products and sums are integers below 2**24 (up to a reduction by 4), which
    float32 represents exactly, in any order of summation.

    Args:
        images: float32 [B, C, h, n], whole numbers from 0 to 255.
        weights: float64 [B, m, n].

    Returns:
        float32 [B, C, h, m].
    """
    batch, channels, height, inside = images.shape
    unit = 2.0 ** torch.arange(MAX_FRACTION_BITS + 1, device=images.device, dtype=torch.float32)
    fits = weights.amax((1, 2))[:, None] * unit[1:] + 0.5 < 2**15  # [B, MAX_FRACTION_BITS]; true, then false
    scale = unit[fits.sum(1)].view(-1, 1, 1)
    fixed = (weights * scale + 0.5).floor().float()
    product = images.reshape(batch, channels * height, inside) @ fixed.mT
    rounded = ((product + scale / 2) / scale).floor_().clamp_(0, 255)
    return rounded.view(batch, channels, height, -1)


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
