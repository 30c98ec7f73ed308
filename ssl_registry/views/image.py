"""Drawing an `ImageView` for a batch: geometry, colour, grey, blur, solarisation, noise, in the papers' order."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ssl_registry.views.blur import gaussian_blur, kernel_size
from ssl_registry.views.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    grey,
    solarize,
)
from ssl_registry.views.geometry import affine, crop_resize, draw_boxes, resize
from ssl_registry.views.random import Random
from ssl_registry.views.specs import ImageView

__all__ = ["draw_image_view"]


def draw_image_view(images: Tensor, view: ImageView, image_size: int | None, random: Random) -> Tensor:
    """Draw one view of every image.

    Args:
        images: float32 [B, C, H, W] in [0, 1].
        view: what to do, and how likely.
        image_size: side of the result where the view has no size of its own; None keeps the images' size.
        random: where every parameter comes from.

    Returns:
        [B, C, h, w] in [0, 1], not normalised.
    """
    images = _place(images, view, image_size, random)
    if images.shape[1] in (1, 3):
        images = _colour(images, view, random)
    count = len(images)
    if view.blur:
        sigma = random.uniform(*view.blur_sigma, (count,))
        size = kernel_size(images.shape[-1])
        images = _some(images, random.chance(view.blur, count), lambda x, of: gaussian_blur(x, sigma[of], size))
    if view.solarize:
        chosen = random.chance(view.solarize, count)
        images = _some(images, chosen, lambda x, of: solarize(x, view.solarize_threshold))
    if view.noise:
        images = (images + view.noise * random.normal(tuple(images.shape))).clamp(0, 1)
    return images


def _place(images: Tensor, view: ImageView, image_size: int | None, random: Random) -> Tensor:
    count, _, height, width = images.shape
    side = view.size or image_size
    size = (side, side) if side else (height, width)
    flip = random.chance(view.flip, count) if view.flip else None
    if view.crop_scale is not None:
        boxes = draw_boxes(count, height, width, view.crop_scale, view.crop_ratio, random)
        images = crop_resize(images, boxes, size, flip)
    else:
        images = resize(images, size)
        if flip is not None:
            images = images.flip(3).where(flip[:, None, None, None], images)
    if view.rotation or view.translation or view.zoom is not None:
        degrees = random.uniform(-view.rotation, view.rotation, (count,))
        shift = random.uniform(-view.translation, view.translation, (count, 2)) * images.shape[-1]
        zoom = random.uniform(*(view.zoom or (1.0, 1.0)), (count,))
        images = affine(images, degrees, shift, zoom)
    return images


def _colour(images: Tensor, view: ImageView, random: Random) -> Tensor:
    count, channels = images.shape[:2]
    if view.jitter:
        steps: list[tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = []
        factors: list[tuple[Callable[[Tensor, Tensor], Tensor], float]] = [
            (adjust_brightness, view.brightness),
            (adjust_contrast, view.contrast),
            (adjust_saturation, view.saturation if channels == 3 else 0.0),
        ]
        for adjust, strength in factors:
            if strength:
                steps.append((adjust, random.uniform(max(0.0, 1 - strength), 1 + strength, (count,))))
        if view.hue and channels == 3:
            steps.append((adjust_hue, random.uniform(-view.hue, view.hue, (count,))))
        chosen = random.chance(view.jitter, count)
        order = random.order(count, len(steps))  # of each image's own
        for position in range(len(steps)):
            for number, (adjust, factor) in enumerate(steps):
                images = _adjusted(images, chosen & (order[:, position] == number), adjust, factor)
    if view.grey and channels == 3:
        images = _some(images, random.chance(view.grey, count), lambda x, of: grey(x).expand_as(x))
    return images


def _adjusted(images: Tensor, chosen: Tensor, adjust: Callable[[Tensor, Tensor], Tensor], factor: Tensor) -> Tensor:
    return _some(images, chosen, lambda x, of: adjust(x, factor[of]))


def _some(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Change the chosen images only; ``change`` gets them and their numbers."""
    numbers = chosen.nonzero()[:, 0]
    if len(numbers) == 0:
        return images
    if len(numbers) == len(images):
        return change(images, numbers)
    return images.index_copy(0, numbers, change(images[numbers], numbers))
