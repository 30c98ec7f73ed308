"""The operations of a view on one photograph on the host, as `image` has them for a batch on a device.

Photographs are numpy arrays [height, width, channels], uint8 in between steps that move pixels, float32 on the scale of
0 to 255 in between steps that change values: rounded once, at the end. OpenCV does them where it is installed, else
torch's operations for batches.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate
from torch.utils.data import get_worker_info

from ssl_registry.views.device.blur import kernel_size
from ssl_registry.views.device.color import LUMA
from ssl_registry.views.device.geometry import affine
from ssl_registry.views.device.image import color_steps, finish
from ssl_registry.views.parameters import ImageParameters
from ssl_registry.views.specs import ImageView

__all__ = ["cut", "cv2", "finish_on_host", "move", "one_thread_in_a_worker"]

cv2: ModuleType | Any  # OpenCV, from the extra "fast"
try:
    import cv2
except ModuleNotFoundError:  # torch's operations take its place
    cv2 = None

Photo = NDArray[np.uint8]
Values = NDArray[np.float32]

IDENTITY = np.eye(3, dtype=np.float32)
LUMA_ROWS = np.tile(np.array([LUMA], np.float32), (3, 1))
# A Gaussian's weights further than this many deviations from its center add up to less than 0.01 grey levels.
REACH = 4.0
# Numbers that are worked on at a time: 1 MiB of float32 stays in a core's cache.
CHUNK = 1 << 18


def one_thread_in_a_worker() -> None:
    """Keep OpenCV to one thread where a loader has many processes, as torch keeps itself."""
    if cv2 is not None and get_worker_info() is not None:
        cv2.setNumThreads(1)


def cut(photo: Photo, size: tuple[int, int], box: Any = None, flip: bool = False) -> Photo:
    """Cut a box out of a photograph, resize it with antialiasing, and mirror it.

    Args:
        photo: uint8 [H, W, C].
        size: height and width of the result.
        box: top, left, height, width; None for the whole.
        flip: whether to mirror left and right.

    Returns:
        uint8 [*size, C], as torchvision's antialiased resize of uint8 gives it.
    """
    if box is not None:
        top, left, height, width = box
        photo = photo[top : top + height, left : left + width]
    if photo.shape[:2] != size:
        # torch's kernel for uint8: OpenCV's INTER_AREA is slower, and another filter, up to 60 grey levels away.
        pixels = torch.from_numpy(photo)[None].permute(0, 3, 1, 2)  # in this order of calls: channels last
        resized = interpolate(pixels, size, mode="bilinear", antialias=True)
        photo = np.ascontiguousarray(resized.permute(0, 2, 3, 1)[0].numpy())
    if flip:
        photo = np.ascontiguousarray(photo[:, ::-1]) if cv2 is None else cv2.flip(photo, 1).reshape(photo.shape)
    return photo


def move(photo: Photo, drawn: ImageParameters, row: int) -> Photo:
    """Rotate, shift and zoom, as on a device: OpenCV's own takes fractions of pixels in steps of 1/32."""
    if drawn.affine is None:
        return photo
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    degrees, right, down, zoom = torch.from_numpy(drawn.affine[row]).unbind()
    shift = torch.stack([right, down])[None] * pixels.shape[-1]
    moved = affine(pixels, degrees[None], shift, zoom[None]).round()
    return np.ascontiguousarray(moved[0].permute(1, 2, 0).to(torch.uint8).numpy())


def finish_on_host(photos: Photo, view: ImageView, drawn: ImageParameters) -> Photo:
    """Change colors, blur, solarize and add noise.

    Args:
        photos: uint8 [B, h, w, C]; not changed.
        view: what to do.
        drawn: its parameters.

    Returns:
        uint8 [B, h, w, C], half a grey level or less from what `image.finish` gives for the same photographs.
    """
    channels = photos.shape[3]
    touched = drawn.blurred | drawn.solarized | (drawn.jittered & bool(color_steps(view, channels)))
    if not (touched | (drawn.grayscale & (channels == 3))).any() and not view.noise:
        return photos
    if cv2 is None or channels > 4 or view.noise:
        return _finish_in_torch(photos, view, drawn)
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


def _finish_in_torch(photos: Photo, view: ImageView, drawn: ImageParameters) -> Photo:
    pixels = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255
    finished = finish(pixels, view, drawn).mul_(255).round_().to(torch.uint8)
    return np.ascontiguousarray(finished.permute(0, 2, 3, 1).numpy())


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
        image[:] = _blurred(image, sigma)


def _clamp(values: Values) -> None:
    np.clip(values, 0, 255, out=values)


def _flat(values: Values) -> Values:
    """See photographs as one tall one, [n * h, w, C], as OpenCV takes them."""
    return values.reshape(-1, *values.shape[2:])


def _stacked(tall: Any, like: Values) -> Any:
    return tall.reshape(like.shape)


ADJUST = (_brightness, _contrast, _saturation, _hue)


def _blurred(values: Values, sigma: float) -> Values:
    """Blur separably, borders reflected; weights too small to see are left out."""
    height, width, _ = shape = values.shape
    half = min(kernel_size(width) // 2, height - 1, width - 1)
    offset = np.arange(-half, half + 1)
    kernel = np.exp(-0.5 * (offset / sigma) ** 2)
    reach = min(half, int(np.ceil(REACH * sigma)))
    kernel = (kernel / kernel.sum()).astype(np.float32)[half - reach : half + reach + 1]
    blurred: Values = cv2.sepFilter2D(values, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    return blurred.reshape(shape)
