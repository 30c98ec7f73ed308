"""Drawing an `ImageView` for a batch on its device: geometry, then color, grayscale, blur, solarization and noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ssl_registry.views.device.blur import gaussian_blur, kernel_size
from ssl_registry.views.device.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    grayscale,
    solarize,
)
from ssl_registry.views.device.geometry import affine, crop_resize, resize
from ssl_registry.views.device.numbers import keyed_normal, to_device
from ssl_registry.views.parameters import Array, ImageParameters
from ssl_registry.views.specs import ImageView

__all__ = ["color_steps", "finish", "place"]

ADJUST = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)


def place(images: Tensor, view: ImageView, drawn: ImageParameters, side: int | None) -> Tensor:
    """Crop, resize, flip and move every image.

    Args:
        images: [B, C, H, W]: uint8, or float32 in [0, 1].
        view: what to do.
        drawn: its parameters.
        side: of the result in pixels; None keeps the images' size.

    Returns:
        float32 [B, C, h, w] in [0, 1]; of uint8 images still whole grey levels, as every engine gives them.
    """
    whole, device = images.dtype == torch.uint8, images.device
    images = images.float()
    size = (side, side) if side else (images.shape[2], images.shape[3])
    flip = to_device(drawn.flip, device) if drawn.flip.any() else None
    if drawn.boxes is not None:
        images = crop_resize(images, to_device(drawn.boxes, device), size, flip, whole=whole)
    elif whole and size != images.shape[2:]:
        box = to_device(torch.tensor([[0, 0, *images.shape[2:]]]), device).expand(len(images), -1)
        images = crop_resize(images, box, size, flip, whole=True)
    else:
        images = resize(images, size)
        if flip is not None:
            images = images.flip(3).where(flip[:, None, None, None], images)
    if drawn.affine is not None:
        degrees, right, down, zoom = to_device(drawn.affine, device).unbind(1)
        images = affine(images, degrees, torch.stack([right, down], 1) * images.shape[-1], zoom)
    return images.round() / 255 if whole else images


def finish(images: Tensor, view: ImageView, drawn: ImageParameters) -> Tensor:
    """Change colors, blur, solarize and add noise.

    Args:
        images: float32 [B, C, h, w] in [0, 1]; not changed.
        view: what to do.
        drawn: its parameters.

    Returns:
        float32 [B, C, h, w] in [0, 1], not normalized.
    """
    images, device = images.clone(), images.device
    factors, sigma = to_device(drawn.factors, device), to_device(drawn.sigma, device)
    steps = color_steps(view, images.shape[1])
    for position in range(len(ADJUST) if steps else 0):
        for number in steps:
            chosen = drawn.jittered & (drawn.order[:, position] == number)
            _change(images, chosen, partial(_adjust, number=number, factors=factors[:, number]))
    if images.shape[1] == 3:
        _change(images, drawn.grayscale, lambda x, of: grayscale(x).expand_as(x))
    size = kernel_size(images.shape[-1])
    _change(images, drawn.blurred, lambda x, of: gaussian_blur(x, sigma[of], size))
    _change(images, drawn.solarized, lambda x, of: solarize(x, view.solarize_threshold))
    if view.noise:
        noise = keyed_normal(drawn.noise, tuple(images.shape[1:]), device)
        images = images.add_(noise, alpha=view.noise).clamp_(0, 1)
    return images


def _adjust(images: Tensor, of: Tensor, *, number: int, factors: Tensor) -> Tensor:
    return ADJUST[number](images, factors[of])


def color_steps(view: ImageView, channels: int) -> tuple[int, ...]:
    """Return which of brightness, contrast, saturation and hue apply: the latter two to RGB, none to many bands."""
    if not view.color_jitter or channels not in (1, 3):
        return ()
    strengths = (view.brightness, view.contrast, view.saturation, view.hue)
    return tuple(number for number, strength in enumerate(strengths[: 4 if channels == 3 else 2]) if strength)


def _change(images: Tensor, chosen: Array, change: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Change the chosen images in place; ``change`` gets them and their numbers."""
    numbers = chosen.nonzero()[0]  # known on the host: nothing waits for the device
    if len(numbers):
        of = to_device(numbers, images.device)
        images.index_copy_(0, of, change(images[of], of))
