"""The operations of a view on one photograph on the host, as `image` has them for a batch on a device.

Photographs are numpy arrays [height, width, channels], uint8 in between steps that move pixels; steps that change
values are rounded once, at the end. OpenCV does these where it is installed (`color` for a photograph, `small` for many
small ones), else torch's operations for batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate
from torch.utils.data import get_worker_info

from ssl_registry.views.device.geometry import affine
from ssl_registry.views.device.image import color_steps, finish
from ssl_registry.views.host.color import ADJUST, Colors, cv2
from ssl_registry.views.host.small import finish_small
from ssl_registry.views.parameters import ImageParameters
from ssl_registry.views.specs import ImageView

__all__ = ["cut", "cv2", "finish_on_host", "finish_one", "move", "one_thread_in_a_worker"]

Photo = NDArray[np.uint8]

# Numbers of a photograph (36 x 36 pixels) up to which calls cost more than what they do: one for many photographs is
# faster than one for each. At 32 pixels by a fifth; at 48 it is slower by as much.
SMALL = 1 << 12


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
    steps = color_steps(view, photos.shape[3])
    jittered = drawn.jittered & bool(steps)
    grayscale = drawn.grayscale & (photos.shape[3] == 3)
    touched = jittered | grayscale | drawn.blurred | drawn.solarized
    if not touched.any() and not view.noise:
        return photos
    if cv2 is None or photos.shape[3] > 4 or view.noise:
        return _finish_in_torch(photos, view, drawn)
    if photos[0].size <= SMALL:
        return finish_small(photos, view, drawn)
    return np.stack([finish_one(photo, view, drawn, row) for row, photo in enumerate(photos)])


def finish_one(photo: Photo, view: ImageView, drawn: ImageParameters, row: int) -> Photo:
    """Change colors, blur, solarize and add noise, of one photograph.

    Args:
        photo: uint8 [h, w, C]; not changed.
        view: what to do.
        drawn: parameters of some photographs or views.
        row: whose of them.

    Returns:
        uint8 [h, w, C], as `finish_on_host` gives it; the photograph itself where nothing happens to it.
    """
    channels = photo.shape[2]
    if cv2 is None or channels > 4 or view.noise:
        alone: Photo = finish_on_host(photo[None], view, drawn.part(slice(row, row + 1)))[0]
        return alone
    colors = Colors(photo)
    if drawn.jittered[row] and (steps := color_steps(view, channels)):
        factors = drawn.factors[row].tolist()
        for number in drawn.order[row].tolist():
            if number in steps:
                ADJUST[number](colors, factors[number])
    if drawn.grayscale[row] and channels == 3:
        colors.grayscale()
    if drawn.blurred[row]:
        colors.blur(float(drawn.sigma[row]))
    if drawn.solarized[row]:
        colors.solarize(view.solarize_threshold)
    return colors.done()


def _finish_in_torch(photos: Photo, view: ImageView, drawn: ImageParameters) -> Photo:
    pixels = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255
    finished = finish(pixels, view, drawn).mul_(255).round_().to(torch.uint8)
    return np.ascontiguousarray(finished.permute(0, 2, 3, 1).numpy())
