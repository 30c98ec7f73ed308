"""Colors of many small photographs at a time, by OpenCV and numpy: of 32 pixels in four fifths of `color`'s time.

Each step is one call for all photographs that have it, where `color` spares passes over a single one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.views.device.color import LUMA
from ssl_registry.views.device.image import color_steps
from ssl_registry.views.host.color import blur_kernel, cv2
from ssl_registry.views.parameters import ImageParameters
from ssl_registry.views.specs import ImageView

__all__ = ["finish_small"]

Photo = NDArray[np.uint8]
Values = NDArray[np.float32]

IDENTITY = np.eye(3, dtype=np.float32)
LUMA_ROWS = np.tile(np.array([LUMA], np.float32), (3, 1))
# Numbers that are worked on at a time: 1 MiB of float32 stays in a core's cache.
CHUNK = 1 << 18


def finish_small(photos: Photo, view: ImageView, drawn: ImageParameters) -> Photo:
    """Change colors, blur and solarize, as `image.finish_on_host` without noise.

    Args:
        photos: uint8 [B, h, w, C] of at most four channels; not changed.
        view: what to do.
        drawn: its parameters.

    Returns:
        uint8 [B, h, w, C].
    """
    few = max(1, CHUNK // photos[0].size)
    parts = [slice(start, start + few) for start in range(0, len(photos), few)]
    return np.concatenate([_finished(photos[part], view, drawn.part(part)) for part in parts])


def _finished(photos: Photo, view: ImageView, drawn: ImageParameters) -> Photo:
    steps = color_steps(view, photos.shape[3])
    jittered = drawn.jittered & bool(steps)
    values = photos.astype(np.float32)
    for position in range(len(ADJUST)):
        for number in {*drawn.order[jittered, position].tolist()} & {*steps}:
            _change(values, jittered & (drawn.order[:, position] == number), ADJUST[number], drawn.factors[:, number])
    if photos.shape[3] == 3:
        _change(values, drawn.grayscale, _grayscale, drawn.sigma)
    _change(values, drawn.blurred, _blur, drawn.sigma)
    if drawn.solarized.any():
        bright = drawn.solarized[:, None, None, None] & (values >= 255 * view.solarize_threshold)
        np.subtract(255, values, out=values, where=bright)
    done: Photo = _stacked(cv2.convertScaleAbs(_flat(values)), values)  # rounds, and stops at 255
    return done


def _change(
    values: Values, chosen: NDArray[np.bool_], change: Callable[[Values, Values], Any], factors: Values
) -> None:
    """Change the chosen photographs in place; ``change`` does so to those that it gets, with their factors."""
    if chosen.all():
        change(values, factors)
    elif chosen.any():
        part = values[chosen]
        change(part, factors[chosen])
        values[chosen] = part


# Each of these changes float32 [n, h, w, C] from 0 to 255 in place, by a factor [n].


def _brightness(values: Values, factors: Values) -> None:
    values *= factors[:, None, None, None]
    _clamp(values)


def _contrast(values: Values, factors: Values) -> None:
    weights = np.array(LUMA if values.shape[3] == 3 else [1.0])
    means = np.array([cv2.mean(image)[: len(weights)] for image in values]) @ weights
    values *= factors[:, None, None, None]
    values += ((1 - factors) * means).astype(np.float32)[:, None, None, None]
    _clamp(values)


def _saturation(values: Values, factors: Values) -> None:
    for image, factor in zip(values, factors, strict=True):
        cv2.transform(image, factor * IDENTITY + (1 - factor) * LUMA_ROWS, dst=image)
    _clamp(values)


def _hue(values: Values, factors: Values) -> None:
    hsv = _stacked(cv2.cvtColor(_flat(values), cv2.COLOR_RGB2HSV), values)  # of floats: hue in degrees
    hsv[:, :, :, 0] += (360 * (factors % 1))[:, None, None]
    cv2.cvtColor(_flat(hsv), cv2.COLOR_HSV2RGB, dst=_flat(values))  # accepts hues above 360 degrees, not below 0


def _grayscale(values: Values, _: Values) -> None:
    cv2.transform(_flat(values), LUMA_ROWS, dst=_flat(values))


def _blur(values: Values, sigmas: Values) -> None:
    for image, sigma in zip(values, sigmas.tolist(), strict=True):
        kernel = blur_kernel(sigma, *image.shape[:2])
        image[:] = cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101).reshape(image.shape)


def _clamp(values: Values) -> None:
    np.clip(values, 0, 255, out=values)


def _flat(values: Values) -> Values:
    """See photographs as one tall one, [n * h, w, C], as OpenCV takes them."""
    return values.reshape(-1, *values.shape[2:])


def _stacked(tall: Any, like: Values) -> Any:
    return tall.reshape(like.shape)


ADJUST = (_brightness, _contrast, _saturation, _hue)
