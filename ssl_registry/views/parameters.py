"""What happens to each image: parameters of views as a pure function of its key, for every engine the same.

Drawn in numpy, on the host, for one image or a whole batch; see `ssl_registry.views.keys`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.views.keys import Keys, stream, uniform
from ssl_registry.views.specs import ImageView

__all__ = ["ImageParameters", "Ranges", "draw_boxes", "draw_image_parameters", "draw_views_of_one"]

Floats = NDArray[np.float64]
Array = NDArray[Any]

# Attempts at a box whose random area and aspect ratio fit into the image, as in torchvision.
TRIES = 10
# Where each parameter lies in a view's stream, and how many numbers the stream of one view has.
AREAS, ASPECTS, CORNER, FLIP, AFFINE, COLOR_JITTER, FACTORS, ORDER, GRAYSCALE, BLUR, SIGMA, SOLARIZE, NOISE = (
    *(0, 10, 20, 22, 23, 27, 28, 32, 36, 37, 38, 39, 40),
)
STREAM = 64
CHANCES = np.array([FLIP, COLOR_JITTER, GRAYSCALE, BLUR, SOLARIZE])


@dataclass(frozen=True)
class ImageParameters:
    """One view of a batch of images; every array has the batch in front.

    Args:
        boxes: int64 [B, 4]: top, left, height, width of the crop in pixels; None where the view has no crop.
        flip: bool [B].
        affine: float32 [B, 4]: degrees, shift right and down as shares of the side, zoom; None without.
        factors: float32 [B, 4]: brightness, contrast, saturation, hue.
        order: int64 [B, 4]: the order in which the four are applied, where ``jittered`` says that they are.
        jittered, grayscale, blurred, solarized: bool [B].
        sigma: float32 [B], of the blur, in pixels.
        noise: the key of each sample's noise.
    """

    boxes: Array | None
    flip: Array
    affine: Array | None
    factors: Array
    order: Array
    jittered: Array
    grayscale: Array
    blurred: Array
    sigma: Array
    solarized: Array
    noise: Keys

    def part(self, samples: slice) -> ImageParameters:
        """Return the parameters of some of the samples."""
        own: dict[str, Any] = {key: each if each is None else each[samples] for key, each in vars(self).items()}
        return ImageParameters(**own)


class Ranges:
    """Between what the parameters of some views are drawn, in arrays of a row for each view.

    Args:
        views: of images, copies one by one.
    """

    def __init__(self, views: Sequence[ImageView]) -> None:
        self.crops = [view.crop_scale is not None for view in views]
        self.moves = [view.moves for view in views]
        self.crop_scale = np.array([view.crop_scale or (1.0, 1.0) for view in views])  # [V, 2]
        self.crop_ratio = np.array([view.crop_ratio for view in views])  # [V, 2]
        zooms = [view.zoom or (1.0, 1.0) for view in views]
        least = [
            (-view.rotation, -view.translation, -view.translation, zoom[0])
            for view, zoom in zip(views, zooms, strict=True)
        ]
        greatest = [
            (view.rotation, view.translation, view.translation, zoom[1])
            for view, zoom in zip(views, zooms, strict=True)
        ]
        self.affine = np.array([least, greatest])  # [2, V, 4]
        strength = np.array([(view.brightness, view.contrast, view.saturation, view.hue) for view in views])
        center = np.array([1.0, 1.0, 1.0, 0.0])
        least_factors = np.concatenate([np.maximum(0, 1 - strength[:, :3]), -strength[:, 3:]], 1)
        self.factors = np.stack([least_factors, center + strength])  # [2, V, 4]
        self.sigma = np.array([view.blur_sigma for view in views]).T  # [2, V]
        self.chances = np.array(  # [V, 5], in the order of CHANCES
            [(view.flip, view.color_jitter, view.grayscale, view.blur, view.solarize) for view in views]
        )

    def __len__(self) -> int:
        return len(self.crops)


def draw_image_parameters(
    view: ImageView, keys: Keys, number: int, height: int | Array, width: int | Array
) -> ImageParameters:
    """Draw the parameters of one view.

    Args:
        view: what may happen, and how likely.
        keys: of the samples, from `sample_keys`.
        number: of the view in its policy, copies counted.
        height, width: of the images, in pixels; or int64 [B], of each.
    """
    return _draw(Ranges([view]), stream(keys, STREAM, start=number * STREAM), height, width)


def draw_views_of_one(ranges: Ranges, key: Keys, height: int, width: int) -> list[ImageParameters]:
    """Draw the parameters of all views of one image at once: the same as `draw_image_parameters` of each, sooner.

    Args:
        ranges: of the policy's views.
        key: of the sample, [1].
        height, width: of the image, in pixels.
    """
    count = len(ranges)
    drawn = _draw(ranges, stream(key, STREAM * count).reshape(count, STREAM), height, width)
    rows = [drawn.part(slice(number, number + 1)) for number in range(count)]
    if all(ranges.crops) and not any(ranges.moves):
        return rows
    return [
        replace(row, boxes=row.boxes if crops else None, affine=row.affine if moves else None)
        for row, crops, moves in zip(rows, ranges.crops, ranges.moves, strict=True)
    ]


def _draw(ranges: Ranges, bits: Keys, height: int | Array, width: int | Array) -> ImageParameters:
    """Turn streams [B, STREAM] into parameters, each in the range of its own row, or all in that of the only one."""
    shares = uniform(bits)  # [B, STREAM] in [0, 1)
    boxes = affine = None
    if any(ranges.crops):
        boxes = draw_boxes(shares[:, AREAS:FLIP], height, width, ranges.crop_scale, ranges.crop_ratio)
    if any(ranges.moves):
        affine = _between(shares[:, AFFINE:COLOR_JITTER], *ranges.affine)
    flip, jittered, grayscale, blurred, solarized = (shares[:, CHANCES] < ranges.chances).T
    return ImageParameters(
        boxes=boxes,
        flip=flip,
        affine=affine,
        factors=_between(shares[:, FACTORS:ORDER], *ranges.factors),
        order=shares[:, ORDER:GRAYSCALE].argsort(1),
        jittered=jittered,
        grayscale=grayscale,
        blurred=blurred,
        sigma=_between(shares[:, SIGMA], *ranges.sigma),
        solarized=solarized,
        noise=bits[:, NOISE],
    )


def draw_boxes(uniform: Floats, height: int | Array, width: int | Array, scale: Floats, ratio: Floats) -> Array:
    """Turn uniform numbers into boxes of random area and aspect ratio, as torchvision's ``RandomResizedCrop``.

    Args:
        uniform: [B, 2 * TRIES + 2] in [0, 1): areas, aspects, and the corner.
        height, width: of the image, in pixels; or int64 [B], of each.
        scale: least and greatest share of its area, [B, 2] or [1, 2].
        ratio: least and greatest width / height, [B, 2] or [1, 2]; its logarithm is uniform.

    Returns:
        int64 [B, 4]: top, left, height, width. Where no attempt fits, the largest central box whose aspect ratio is
        in range.
    """
    whole = np.empty((len(uniform), 2), np.int64)
    whole[:, 0], whole[:, 1] = height, width
    logarithms = np.array([[math.log(each) for each in row] for row in ratio.tolist()])
    area = whole[:, :1] * whole[:, 1:] * (scale[:, :1] + (scale[:, 1:] - scale[:, :1]) * uniform[:, AREAS:ASPECTS])
    least, greatest = logarithms[:, :1], logarithms[:, 1:]
    aspect = np.exp(least + (greatest - least) * uniform[:, ASPECTS:CORNER])
    sides = np.empty((*area.shape, 2))  # [B, TRIES, 2]: height, width
    np.divide(area, aspect, out=sides[:, :, 0])
    np.multiply(area, aspect, out=sides[:, :, 1])
    sides = np.rint(np.sqrt(sides, out=sides), out=sides)
    fits = np.all((sides > 0) & (sides <= whole[:, None]), axis=2)
    rows = np.arange(len(uniform))
    first = fits.argmax(1)  # the first attempt that fits; 0 where none does
    found, sides = fits[rows, first], sides[rows, first]
    share: Any = uniform[:, CORNER:FLIP]
    if not found.all():
        sides = np.where(found[:, None], sides, _largest(whole, ratio))
        share = np.where(found[:, None], share, 0.5)
    boxes = np.empty((len(uniform), 4), np.int64)
    # A uniform number below 1 picks a corner; central boxes have half of what is left.
    boxes[:, :2] = np.floor((whole - sides + found[:, None]) * share)
    boxes[:, 2:] = sides
    return boxes


def _largest(whole: Array, ratio: Floats) -> Floats:
    """Return the sides [B, 2] of the largest box in each image whose aspect ratio is in range."""
    height, width = whole[:, 0], whole[:, 1]
    share = width / height
    high = np.where(share < ratio[:, 0], width / ratio[:, 0], height)
    wide = np.where(share > ratio[:, 1], height * ratio[:, 1], width)
    sides: Floats = np.rint(np.stack([high, wide], 1))
    return sides


def _between(uniform: Floats, low: Any, high: Any) -> Array:
    numbers: Array = (low + (high - low) * uniform).astype(np.float32)
    return numbers
