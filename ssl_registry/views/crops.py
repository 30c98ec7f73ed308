"""Where views are cut out of their samples: a function of the samples' keys, known before they are drawn and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_registry.views.keys import Keys, combine, stream, uniform
from ssl_registry.views.parameters import draw_image_parameters
from ssl_registry.views.specs import ImageView, SignalView, View

__all__ = ["Cut", "image_cut", "signal_crops"]

Array = NDArray[Any]
Numbers = NDArray[np.int64]

# Streams of a view's crop, apart from those of `device.signal`: its length, its place, and a shift of all views.
LENGTH, PLACE, SHIFT = 100, 101, 102


class Cut(NamedTuple):
    """Where a view was cut out of each sample, on the host.

    Args:
        box: int64. Images [B, 4]: top, left, height, width, in pixels of the sample. Signals [B, 2]: the first step,
            and the one behind the last.
        flipped: bool [B], of images: whether left and right changed places.
    """

    box: Numbers
    flipped: NDArray[np.bool_] | None


def image_cut(view: ImageView, keys: Keys, number: int, size: tuple[int, int] | Numbers) -> Cut:
    """Return where a view of images was cut. A rotation, a shift or a zoom of the view comes after that.

    Args:
        view: that was drawn.
        keys: of the samples, [B].
        number: of the view in its policy, copies counted.
        size: height and width of all samples; or int64 [B, 2], of each photograph, of which a view without a crop shows
            the centered square.
    """
    photographs = isinstance(size, np.ndarray)
    height, width = (size[:, 0], size[:, 1]) if isinstance(size, np.ndarray) else size
    drawn = draw_image_parameters(view, keys, number, height, width)
    box = drawn.boxes
    if box is None and photographs:
        side = np.minimum(height, width)
        box = np.stack([(height - side) // 2, (width - side) // 2, side, side], 1)
    elif box is None:
        box = np.tile(np.array([0, 0, height, width]), (len(keys), 1))
    return Cut(box.astype(np.int64), drawn.flip)


def signal_crops(
    views: Sequence[View], keys: Keys, length: int, *, overlap: float | None, batch_key: int
) -> dict[int, Numbers]:
    """Choose the interval of time that each view of signals keeps.

    Crops that are stretched to the signal's length are drawn for each sample. Others have one length for the whole
    batch; where they must overlap, they lie alike to each other in all samples too, and are shifted together for each
    sample, as in TS2Vec (Yue et al., 2022, arXiv:2106.10466, section 3.2, and the authors' code): what they have in
    common is as long in every sample.

    Args:
        views: all that are drawn, copies one by one.
        keys: of the samples, [B].
        length: of the signals, in steps.
        overlap: the least share of the shorter of two crops that each crop has in common with the first one; None
            leaves them where they fall.
        batch_key: from which comes what is alike for the whole batch.

    Returns:
        By the numbers of the views that have a crop: int64 [B, 2], the first step and the one behind the last.
    """
    cropped = {number: view for number, view in enumerate(views) if isinstance(view, SignalView) and view.crop_scale}
    starts: dict[int, Numbers] = {}
    sizes: dict[int, Numbers] = {}

    def place(number: int, whose_size: Keys, whose_place: Keys) -> None:
        sizes[number] = _length(cropped[number], combine(whose_size, number, LENGTH), length)
        first = next(iter(starts), None)
        beside = None if first is None or overlap is None else (starts[first], sizes[first], overlap)
        starts[number] = _start(combine(whose_place, number, PLACE), sizes[number], length, beside)

    batch = combine(batch_key)  # [1]
    for number in (number for number, view in cropped.items() if not view.stretch):
        place(number, batch, keys if overlap is None else batch)
    if starts and overlap is not None:
        _shift_together(starts, sizes, length, keys)
    for number in (number for number, view in cropped.items() if view.stretch):
        place(number, keys, keys)
    rows = np.zeros(len(keys), np.int64)
    return {number: np.stack([rows + starts[number], rows + starts[number] + sizes[number]], 1) for number in cropped}


def _shift_together(starts: dict[int, Numbers], sizes: dict[int, Numbers], length: int, keys: Keys) -> None:
    """Move all crops of each sample by one number of steps, so that they stay within the signal."""
    low = min(int(start[0]) for start in starts.values())
    high = max(int(start[0] + sizes[number][0]) for number, start in starts.items())
    room = length - (high - low) + 1
    shift = np.floor(_share(combine(keys, SHIFT)) * room).astype(np.int64) - low  # [B]
    for number, start in starts.items():
        starts[number] = start + shift


def _length(view: SignalView, keys: Keys, length: int) -> Numbers:
    least, greatest = view.crop_scale or (1.0, 1.0)
    share = least + (greatest - least) * _share(keys)
    return np.clip(np.rint(share * length), 1, length).astype(np.int64)


def _start(keys: Keys, size: Numbers, length: int, beside: tuple[Numbers, Numbers, float] | None) -> Numbers:
    """Choose evenly among the places where a crop fits, and has enough in common with another one."""
    low, high = np.zeros_like(size), length - size
    if beside is not None:
        other, other_size, overlap = beside
        common = np.maximum(1, np.ceil(overlap * np.minimum(size, other_size))).astype(np.int64)
        low = np.maximum(low, other + common - size)
        high = np.minimum(high, other + other_size - common)
    return low + np.floor(_share(keys) * (high - low + 1)).astype(np.int64)


def _share(keys: Keys) -> NDArray[np.float64]:
    return uniform(stream(keys, 1))[:, 0]
