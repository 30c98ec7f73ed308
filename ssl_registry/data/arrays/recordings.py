"""Recordings of any length become signals of one length: whole ones that have it already, or windows cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.decisions import Decisions
from ssl_registry.data.options import DataOptions
from ssl_registry.errors import DataError

__all__ = ["Windows", "channels_first", "cut_windows", "without_padding"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Windows:
    """Signals of one length, cut from recordings.

    Args:
        x: [N, channels, time].
        recording: of each, the number of the recording that it is of, [N].
        start: of each, its first moment in the recording, [N].
        are_cut: whether they are windows; False where each is a whole recording.
    """

    x: Array
    recording: NDArray[np.int64]
    start: NDArray[np.int64]
    are_cut: bool


def channels_first(arrays: Sequence[Array], names: Sequence[str], told: Decisions) -> list[Array]:
    """Bring recordings to [channels, time].

    Of two axes the one that is equal in all recordings is that of the channels; where both are, the shorter one.

    Args:
        arrays: each [time], [channels, time] or [time, channels].
        names: of the recordings, for messages.
        told: takes what was decided.

    Raises:
        DataError: naming the recording that does not fit the first one.

    Example:
        >>> told = Decisions()
        >>> [x.shape for x in channels_first([np.zeros((5, 2)), np.zeros((9, 2))], ["a", "b"], told)], told.more
        ([(2, 5), (2, 9)], ['read as [time, channels]'])
    """
    for array, name in zip(arrays, names, strict=True):
        if array.ndim not in (1, 2) or array.dtype.kind not in "biuf" or not array.size:
            raise DataError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; expected a recording: numbers of shape "
                "[time], [channels, time] or [time, channels]"
            )
        if array.ndim != arrays[0].ndim:
            raise DataError(f"{name} has shape {array.shape}, {names[0]} has {arrays[0].shape}; expected alike")
    if arrays[0].ndim == 1:
        return [array[None] for array in arrays]
    first, second = ({array.shape[axis] for array in arrays} for axis in (0, 1))
    if len(first) > 1 and len(second) > 1:
        count = arrays[0].shape[0] if arrays[0].shape[0] < arrays[0].shape[1] else arrays[0].shape[1]
        other = next(i for i, array in enumerate(arrays) if count not in array.shape)
        raise DataError(
            f"{names[other]} has shape {arrays[other].shape}, {names[0]} has {arrays[0].shape}; expected the same "
            "channels in all recordings, or leave it out"
        )
    last = len(second) == 1 and (len(first) > 1 or min(second) < min(first))
    if last:
        told.more.append("read as [time, channels]")
    return [array.T for array in arrays] if last else list(arrays)


def without_padding(x: Array) -> Array | list[Array]:
    """Return signals without the NaN that fill the shorter ones up; NaN within a signal stay.

    >>> [one.shape for one in without_padding(np.array([[[1.0, 2.0, np.nan]], [[1.0, 2.0, 3.0]]]))]
    [(1, 2), (1, 3)]
    """
    missing: NDArray[np.bool_] = np.asarray(np.isnan(x).any(axis=1))  # [N, time]
    lengths = x.shape[2] - missing[:, ::-1].argmin(1)
    at_ends = np.array_equal(missing, np.arange(x.shape[2]) >= lengths[:, None])
    if not missing.any() or missing.all(1).any() or not at_ends:
        return x
    return [one[:, :length] for one, length in zip(x, lengths, strict=True)]


def cut_windows(
    recordings: Sequence[Array], names: Sequence[str], options: DataOptions, told: Decisions, *, part: str = ""
) -> Windows:
    """Cut windows of ``options.window_length`` moments, one every ``options.window_stride``.

    What is left at a recording's end is in no window. A shorter recording becomes one window, filled up at its end with
    the mean of each channel.

    Args:
        recordings: each [channels, time].
        names: of them, for messages.
        options: how they are cut; without a length of the windows all recordings must have one length.
        told: takes what was done.
        part: what they are of, where that must be told.

    Raises:
        DataError: if recordings have several lengths and no length of windows is given, or other channels.

    Example:
        >>> found = cut_windows([np.zeros((2, 10))], ["a"], DataOptions(window_length=4, window_stride=3), Decisions())
        >>> found.x.shape, found.start.tolist()
        ((3, 2, 4), [0, 3, 6])
    """
    channels = recordings[0].shape[0]
    for recording, name in zip(recordings, names, strict=True):
        if recording.shape[0] != channels:
            raise DataError(f"{name} has {recording.shape[0]} channels, {names[0]} has {channels}; expected the same")
    lengths = np.array([one.shape[1] for one in recordings])
    window = options.window_length
    if window is None:
        if lengths.min() != lengths.max():
            short, long = names[int(lengths.argmin())], names[int(lengths.argmax())]
            raise DataError(
                f"recordings have from {lengths.min():,} moments ({short}) to {lengths.max():,} ({long}), and a "
                f"network takes one length: {_advice(lengths)}"
            )
        every = np.arange(len(recordings))
        return Windows(np.stack(recordings), every, np.zeros_like(every), are_cut=False)
    stride = options.window_stride or window
    counts = np.maximum(0, (lengths - window) // stride) + 1
    kind = np.float64 if any(one.dtype == np.float64 for one in recordings) else np.float32
    x = np.empty((int(counts.sum()), channels, window), kind)
    done = 0
    for one, count in zip(recordings, counts.tolist(), strict=True):
        if one.shape[1] < window:
            x[done, :, : one.shape[1]] = one
            x[done, :, one.shape[1] :] = one.mean(1, dtype=np.float64)[:, None]
        else:
            views = np.lib.stride_tricks.sliding_window_view(one, window, axis=1)[:, ::stride]  # [C, count, window]
            x[done : done + count] = views.transpose(1, 0, 2)
        done += count
    begins = [np.arange(count) * stride for count in counts.tolist()]
    left = int(np.maximum(0, lengths - ((counts - 1) * stride + window)).sum())
    words = [
        f"{part}{len(x):,} windows of {window} moments, one every {stride}, of {_counted(len(recordings), 'recording')}"
    ]
    if filled := int((lengths < window).sum()):
        words.append(f"{_counted(filled, 'shorter recording')} filled up at the end with the channels' means")
    if left:
        words.append(f"{_counted(left, 'moment')} at the ends in no window")
    told.more.append(", ".join(words))
    return Windows(x, np.repeat(np.arange(len(recordings)), counts), np.concatenate(begins), are_cut=True)


def _advice(lengths: NDArray[np.int64]) -> str:
    """Return how windows may be cut: so that half of the recordings give four or more.

    >>> _advice(np.array([30, 400, 639]))
    'cut windows, such as --data.window 64 (with --data.stride 32 they overlap by half; 1 shorter recording is \
filled up at its end)'
    """
    window = _usual(float(np.median(lengths)))
    words = f"with --data.stride {max(1, window // 2)} they overlap by half"
    if shorter := int((lengths < window).sum()):
        are = "is filled up at its end" if shorter == 1 else "are filled up at their ends"
        words += f"; {_counted(shorter, 'shorter recording')} {are}"
    return f"cut windows, such as --data.window {window} ({words})"


def _usual(median: float) -> int:
    """Return the power of two below a quarter of a length, from 16 to 1024; of short ones what they hold, at least 2.

    >>> [_usual(length) for length in (400, 40, 10, 1, 1e6)]
    [64, 16, 8, 2, 1024]
    """
    held = int(np.log2(max(2.0, median)))
    quarter = int(np.log2(max(1.0, median / 4)))
    return int(2 ** min(10, held, max(4, quarter)))


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
