"""What happens to each image: parameters of views as a pure function of its key, for every engine the same.

Drawn in numpy, on the host, for one image or a whole batch; see `ssl_registry.views.keys`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.views.keys import Keys, stream, uniform
from ssl_registry.views.specs import ImageView

__all__ = [
    "STREAM",
    "Box",
    "ImageParameters",
    "Ranges",
    "box_of_one",
    "draw_all_but_boxes",
    "draw_box_shapes",
    "draw_boxes",
    "draw_image_parameters",
]

Floats = NDArray[np.float64]
Array = NDArray[Any]
Box = tuple[int, int, int, int]  # top, left, height, width

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

    def part(self, samples: slice | int) -> ImageParameters:
        """Return the parameters of some of the samples, or of the views of one."""
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
        self.log_ratio = np.array([[math.log(each) for each in view.crop_ratio] for view in views])  # [V, 2]
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
    ranges, bits = Ranges([view]), stream(keys, STREAM, start=number * STREAM)
    shares = uniform(bits)
    boxes = None
    if view.crop_scale is not None:
        boxes = draw_boxes(shares[:, AREAS:FLIP], height, width, ranges)
    return draw_all_but_boxes(ranges, bits, shares, boxes)


def draw_all_but_boxes(ranges: Ranges, bits: Keys, shares: Floats, boxes: Array | None = None) -> ImageParameters:
    """Turn streams into parameters, each in the range of its own row or all in that of the only one.

    Args:
        ranges: of V views.
        bits, shares: streams [..., V, STREAM], and as uniform numbers in [0, 1).
        boxes: which to add.
    """
    affine = _between(shares[..., AFFINE:COLOR_JITTER], *ranges.affine) if any(ranges.moves) else None
    chances = shares[..., CHANCES] < ranges.chances
    return ImageParameters(
        boxes=boxes,
        flip=chances[..., 0],
        affine=affine,
        factors=_between(shares[..., FACTORS:ORDER], *ranges.factors),
        order=shares[..., ORDER:GRAYSCALE].argsort(-1),
        jittered=chances[..., 1],
        grayscale=chances[..., 2],
        blurred=chances[..., 3],
        sigma=_between(shares[..., SIGMA], *ranges.sigma),
        solarized=chances[..., 4],
        noise=bits[..., NOISE],
    )


def draw_box_shapes(uniform: Floats, ranges: Ranges) -> tuple[Floats, Floats]:
    """Return the random shares of an image's area and aspect ratios that boxes may have, each [..., V, TRIES].

    Args:
        uniform: [..., V, 2 * TRIES + 2] in [0, 1): areas, aspects, and the corner.
        ranges: of V views, or of one.
    """
    least, greatest = ranges.crop_scale[:, :1], ranges.crop_scale[:, 1:]
    areas = least + (greatest - least) * uniform[..., AREAS:ASPECTS]
    least, greatest = ranges.log_ratio[:, :1], ranges.log_ratio[:, 1:]
    return areas, np.exp(least + (greatest - least) * uniform[..., ASPECTS:CORNER])


def draw_boxes(uniform: Floats, height: int | Array, width: int | Array, ranges: Ranges) -> Array:
    """Turn uniform numbers into boxes of random area and aspect ratio, as torchvision's ``RandomResizedCrop``.

    Args:
        uniform: [B, 2 * TRIES + 2], as for `draw_box_shapes`.
        height, width: of the image, in pixels; or int64 [B], of each.
        ranges: of the view.

    Returns:
        int64 [B, 4]: top, left, height, width. Where no attempt fits, the largest central box whose aspect ratio is
        in range.
    """
    whole = np.stack(np.broadcast_arrays(height, width, uniform[:, 0])[:2], 1).astype(np.int64)  # [B, 2]
    areas, aspects = draw_box_shapes(uniform, ranges)
    areas = whole[:, :1] * whole[:, 1:] * areas
    sides = np.rint(np.sqrt(np.stack([areas / aspects, areas * aspects], 2)))  # [B, TRIES, 2]: height, width
    fits = np.all((sides > 0) & (sides <= whole[:, None]), axis=2)
    rows = np.arange(len(uniform))
    first = fits.argmax(1)  # the first attempt that fits; 0 where none does
    found, sides = fits[rows, first, None], sides[rows, first]
    sides = np.where(found, sides, _largest(whole, ranges.crop_ratio))
    # A uniform number below 1 picks a corner; central boxes have half of what is left.
    corner = np.floor((whole - sides + found) * np.where(found, uniform[:, CORNER:FLIP], 0.5))
    return np.concatenate([corner, sides], 1).astype(np.int64)


def box_of_one(
    areas: Sequence[float],
    aspects: Sequence[float],
    corner: Sequence[float],
    height: int,
    width: int,
    ratio: tuple[float, float],
) -> Box:
    """Return what `draw_boxes` draws for one image, to the pixel, in a tenth of its time for one.

    Args:
        areas, aspects: of `draw_box_shapes`, [TRIES].
        corner: two uniform numbers in [0, 1).
        height, width: of the image, in pixels.
        ratio: least and greatest width / height.
    """
    for area, aspect in zip(areas, aspects, strict=True):
        area *= height * width
        high, wide = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < high <= height and 0 < wide <= width:
            return int((height - high + 1) * corner[0]), int((width - wide + 1) * corner[1]), high, wide
    high = round(width / ratio[0]) if width / height < ratio[0] else height
    wide = round(height * ratio[1]) if width / height > ratio[1] else width
    return (height - high) // 2, (width - wide) // 2, high, wide


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
