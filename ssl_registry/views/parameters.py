"""What happens to each image: parameters of views as a pure function of its key, for every engine the same.

Drawn in numpy, on the host, for one image or a whole batch; see `ssl_registry.views.keys`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.views.keys import Keys, stream, uniform
from ssl_registry.views.specs import ImageView

__all__ = ["ImageParameters", "draw_boxes", "draw_image_parameters"]

Floats = NDArray[np.float64]
Array = NDArray[Any]

# Attempts at a box whose random area and aspect ratio fit into the image, as in torchvision.
TRIES = 10
# Where each parameter lies in a view's stream, and how many numbers the stream of one view has.
AREAS, ASPECTS, CORNER, FLIP, AFFINE, COLOR_JITTER, FACTORS, ORDER, GRAYSCALE, BLUR, SIGMA, SOLARIZE, NOISE = (
    *(0, 10, 20, 22, 23, 27, 28, 32, 36, 37, 38, 39, 40),
)
STREAM = 64


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
    bits = stream(keys, STREAM, start=number * STREAM)
    shares = uniform(bits)  # [B, STREAM] in [0, 1)
    boxes = affine = None
    if view.crop_scale is not None:
        boxes = draw_boxes(shares[:, AREAS:FLIP], height, width, view.crop_scale, view.crop_ratio)
    if view.moves:
        least, greatest = view.zoom or (1.0, 1.0)
        low = np.array([-view.rotation, -view.translation, -view.translation, least])
        affine = _between(shares[:, AFFINE:COLOR_JITTER], low, np.array([-low[0], -low[1], -low[2], greatest]))
    strength = np.array([view.brightness, view.contrast, view.saturation, view.hue])
    center = np.array([1.0, 1.0, 1.0, 0.0])
    low = np.array([*np.maximum(0, 1 - strength[:3]), -view.hue])
    return ImageParameters(
        boxes=boxes,
        flip=shares[:, FLIP] < view.flip,
        affine=affine,
        factors=_between(shares[:, FACTORS:ORDER], low, center + strength),
        order=shares[:, ORDER:GRAYSCALE].argsort(1),
        jittered=shares[:, COLOR_JITTER] < view.color_jitter,
        grayscale=shares[:, GRAYSCALE] < view.grayscale,
        blurred=shares[:, BLUR] < view.blur,
        sigma=_between(shares[:, SIGMA], view.blur_sigma[0], view.blur_sigma[1]),
        solarized=shares[:, SOLARIZE] < view.solarize,
        noise=bits[:, NOISE],
    )


def draw_boxes(
    uniform: Floats, height: int | Array, width: int | Array, scale: tuple[float, float], ratio: tuple[float, float]
) -> Array:
    """Turn uniform numbers into boxes of random area and aspect ratio, as torchvision's ``RandomResizedCrop``.

    Args:
        uniform: [B, 2 * TRIES + 2] in [0, 1): areas, aspects, and the corner.
        height, width: of the image, in pixels; or int64 [B], of each.
        scale: least and greatest share of its area.
        ratio: least and greatest width / height; its logarithm is uniform.

    Returns:
        int64 [B, 4]: top, left, height, width. Where no attempt fits, the largest central box whose aspect ratio is
        in range.
    """
    whole = np.stack(np.broadcast_arrays(height, width, uniform[:, 0])[:2], 1).astype(np.int64)  # [B, 2]
    height, width = whole[:, :1], whole[:, 1:]  # [B, 1]
    area = height * width * (scale[0] + (scale[1] - scale[0]) * uniform[:, AREAS:ASPECTS])
    least, greatest = math.log(ratio[0]), math.log(ratio[1])
    aspect = np.exp(least + (greatest - least) * uniform[:, ASPECTS:CORNER])
    sides = np.rint(np.sqrt(np.stack([area / aspect, area * aspect], 2)))  # [B, TRIES, 2]: height, width
    fits = np.all((sides > 0) & (sides <= whole[:, None]), axis=2)
    rows = np.arange(len(uniform))
    first = fits.argmax(1)  # the first attempt that fits; 0 where none does
    found, sides = fits[rows, first, None], sides[rows, first]
    share = width / height
    high = np.where(share < ratio[0], width / ratio[0], height)
    wide = np.where(share > ratio[1], height * ratio[1], width)
    sides = np.where(found, sides, np.rint(np.concatenate([high, wide], 1)))
    # A uniform number below 1 picks a corner; central boxes have half of what is left.
    corner = np.floor((whole - sides + found) * np.where(found, uniform[:, CORNER:FLIP], 0.5))
    return np.concatenate([corner, sides], 1).astype(np.int64)


def _between(uniform: Floats, low: Any, high: Any) -> Array:
    numbers: Array = (low + (high - low) * uniform).astype(np.float32)
    return numbers
