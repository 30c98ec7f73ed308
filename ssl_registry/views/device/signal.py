"""Views of signals [batch, channels, time]: time is the last axis, and channels of a sample move together."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.views.device.numbers import keyed_normal, to_device
from ssl_registry.views.keys import Keys, combine, stream, uniform
from ssl_registry.views.specs import SignalView

__all__ = ["crop_time", "draw_signal_view", "mask_band", "permute_segments", "smooth_curves", "warp_time"]

# Points of the smooth curve along which time is stretched (`knot=4` in the code of Um et al.).
WARP_KNOTS = 4
# Points of the smooth curve of factors: `knot=4` in their code puts four between the two ends.
CURVE_KNOTS = 6
# Each operation has a stream of its own: one that is switched off leaves the others' numbers as they were.
WARP, CUTS, ORDER, SCALING, DROPOUT, JITTER, MAGNITUDE, BAND = range(8)


def draw_signal_view(
    signals: Tensor, view: SignalView, keys: Keys, number: int, crop: NDArray[np.int64] | None = None
) -> Tensor:
    """Draw one view of every signal.

    Source: Um et al., 2017, arXiv:1706.00527, section 3, for what the warps, permutation, scaling and jitter mean; the
    band of frequencies is SpecAugment's (Park et al., 2019, arXiv:1904.08779, section 2), of a signal's own spectrum.

    Args:
        signals: float32 [B, C, T].
        view: what to do.
        keys: of the samples, from `sample_keys`.
        number: of the view in its policy, copies counted.
        crop: int64 [B, 2], the first step to keep and the one behind the last; None keeps all.

    Returns:
        float32 [B, C, T]; where a crop is not stretched, as many steps as it has.
    """
    device = signals.device
    if crop is not None:
        signals = crop_time(signals, crop, stretch=view.stretch)
    _, channels, time = signals.shape

    def normal(operation: int, *shape: int) -> Tensor:
        return keyed_normal(combine(keys, number, operation), shape, device)

    def share(operation: int, count: int) -> Tensor:
        numbers = uniform(stream(combine(keys, number, operation), count))  # [B, count] in [0, 1)
        return to_device(numbers.astype(np.float32), device)

    if view.time_warp:
        signals = warp_time(signals, torch.exp(view.time_warp * normal(WARP, WARP_KNOTS)))
    if view.permutation > 1:
        cuts, order = share(CUTS, view.permutation - 1), share(ORDER, view.permutation)
        signals = permute_segments(signals, cuts.sort(1).values, order.argsort(1))
    if view.scaling:
        signals = signals * (1 + view.scaling * normal(SCALING, channels, 1))
    if view.magnitude_warp:
        signals = signals * (1 + view.magnitude_warp * smooth_curves(normal(MAGNITUDE, channels, CURVE_KNOTS), time))
    if view.frequency_mask:
        signals = mask_band(signals, share(BAND, 2), view.frequency_mask)
    if view.channel_dropout:
        signals = signals * (share(DROPOUT, channels) >= view.channel_dropout)[:, :, None]
    if view.jitter:
        signals = signals + view.jitter * normal(JITTER, channels, time)
    return signals


def crop_time(signals: Tensor, crop: NDArray[np.int64], *, stretch: bool) -> Tensor:
    """Keep an interval of time of each signal.

    Args:
        signals: [B, C, T].
        crop: int64 [B, 2]: the first step and the one behind the last.
        stretch: bring the interval to T steps, linearly between the middles of its own; otherwise all intervals have
            one length.
    """
    start, end = to_device(crop, signals.device).unbind(1)  # [B]
    if not stretch:
        length = int(crop[0, 1] - crop[0, 0])  # known on the host: nothing waits for the device
        index = start[:, None] + torch.arange(length, device=signals.device)  # [B, length]
        return signals.gather(2, index[:, None].expand(-1, signals.shape[1], -1))
    time = signals.shape[-1]
    step = ((end - start) / time)[:, None]  # [B, 1], steps of the signal for one of the view
    position = (torch.arange(time, device=signals.device) + 0.5) * step - 0.5
    position = torch.minimum(position.clamp(min=0), (end - start - 1)[:, None]) + start[:, None]  # [B, T]
    return _interpolated(signals, position)


def permute_segments(signals: Tensor, cuts: Tensor, order: Tensor) -> Tensor:
    """Cut each signal in time and put the pieces in another order, the same for all of its channels.

    Args:
        signals: [B, C, T].
        cuts: [B, n - 1], rising, in [0, 1): where to cut, as a share of the time.
        order: int64 [B, n], a permutation a row: the rank that each piece gets.
    """
    time = torch.arange(signals.shape[-1], device=signals.device)
    piece = torch.searchsorted(cuts.contiguous(), time / len(time) + cuts.new_zeros(len(cuts), 1), right=True)  # [B, T]
    # A stable sort by the new rank of its piece keeps each piece's inner order.
    index = order.gather(1, piece).argsort(dim=1, stable=True)
    return signals.gather(2, index[:, None].expand_as(signals))


def warp_time(signals: Tensor, stretch: Tensor) -> Tensor:
    """Let time run faster and slower, smoothly, from the signal's first to its last sample.

    Args:
        signals: [B, C, T].
        stretch: positive [B, k], the relative speed at k points spread evenly over the time.
    """
    length = signals.shape[-1]
    if length < 2:
        return signals
    speed = F.interpolate(stretch[:, None], length - 1, mode="linear", align_corners=True)[:, 0]  # [B, T - 1]
    position = F.pad(speed.cumsum(1), (1, 0))
    position = position / position[:, -1:] * (length - 1)
    return _interpolated(signals, position)


def smooth_curves(values: Tensor, time: int) -> Tensor:
    """Return cubic splines through values that lie evenly over the time, the first and the last at its ends.

    The splines are natural: their second derivative vanishes at both ends.

    Args:
        values: [B, C, k], k at least 2.
        time: number of steps T.

    Returns:
        [B, C, T].

    Example:
        >>> smooth_curves(torch.tensor([[[0.0, 1.0, 2.0]]]), 5)  # a line stays one
        tensor([[[0.0000, 0.5000, 1.0000, 1.5000, 2.0000]]])
    """
    return values @ to_device(_spline(values.shape[-1], time), values.device).to(values.dtype)


@lru_cache(maxsize=64)
def _spline(knots: int, time: int) -> NDArray[np.float32]:
    """Return what values at the knots are multiplied with to give the natural spline through them, [knots, T]."""
    # With knots at 0, 1, ..., the second derivatives m solve m[i-1] + 4 m[i] + m[i+1] = 6 (y[i-1] - 2 y[i] + y[i+1]).
    inner, eye = knots - 2, np.eye(knots)
    curvature = np.zeros((knots, knots))  # [knot, value]
    if inner:
        system = 4 * np.eye(inner) + np.eye(inner, k=1) + np.eye(inner, k=-1)
        curvature[1:-1] = np.linalg.solve(system, 6 * (eye[:-2] - 2 * eye[1:-1] + eye[2:]))
    place = np.linspace(0, knots - 1, time)
    before = np.minimum(place.astype(int), knots - 2)
    right = (place - before)[:, None]
    left = 1 - right
    curve = left * eye[before] + right * eye[before + 1]
    curve += ((left**3 - left) * curvature[before] + (right**3 - right) * curvature[before + 1]) / 6
    found: NDArray[np.float32] = curve.T.astype(np.float32)
    return found


def mask_band(signals: Tensor, drawn: Tensor, widest: float) -> Tensor:
    """Remove a band of frequencies, the same of all channels of a signal; the mean over time stays.

    Args:
        signals: [B, C, T].
        drawn: [B, 2] in [0, 1): the width of the band, from none to the widest, and where it lies.
        widest: share of the frequencies above 0 that a band has at most.
    """
    time = signals.shape[-1]
    number = time // 2  # frequencies above 0
    width = (drawn[:, :1] * (round(widest * number) + 1)).floor()
    start = 1 + (drawn[:, 1:] * (number - width + 1)).floor()
    frequency = torch.arange(number + 1, device=signals.device)
    removed = (frequency >= start) & (frequency < start + width)  # [B, frequencies]
    spectrum = torch.fft.rfft(signals).masked_fill(removed[:, None], 0)
    left: Tensor = torch.fft.irfft(spectrum, n=time)
    return left


def _interpolated(signals: Tensor, position: Tensor) -> Tensor:
    """Read signals [B, C, T] between their steps, at positions [B, T] from 0 to T - 1."""
    if signals.shape[-1] < 2:
        return signals
    before = position.floor().long().clamp(max=signals.shape[-1] - 2)
    share = (position - before)[:, None].to(signals.dtype)
    index = before[:, None].expand_as(signals)
    return signals.gather(2, index) * (1 - share) + signals.gather(2, index + 1) * share
