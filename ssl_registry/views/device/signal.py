"""Views of signals [batch, channels, time]: time is the last axis, and channels of a sample move together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.views.device.numbers import keyed_normal, to_device
from ssl_registry.views.keys import Keys, combine, stream, uniform
from ssl_registry.views.specs import SignalView

__all__ = ["draw_signal_view", "permute_segments", "warp_time"]

# Points of the smooth curve along which time is stretched (`knot=4` in the code of Um et al.).
WARP_KNOTS = 4
# Each operation has a stream of its own: one that is switched off leaves the others' numbers as they were.
WARP, CUTS, ORDER, SCALING, DROPOUT, JITTER = range(6)


def draw_signal_view(signals: Tensor, view: SignalView, keys: Keys, number: int) -> Tensor:
    """Draw one view of every signal (Um et al., 2017, arXiv:1706.00527, for what each operation means).

    Args:
        signals: float32 [B, C, T].
        view: what to do.
        keys: of the samples, from `sample_keys`.
        number: of the view in its policy, copies counted.

    Returns:
        float32 [B, C, T].
    """
    _, channels, time = signals.shape
    device = signals.device

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
    if view.channel_dropout:
        signals = signals * (share(DROPOUT, channels) >= view.channel_dropout)[:, :, None]
    if view.jitter:
        signals = signals + view.jitter * normal(JITTER, channels, time)
    return signals


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
    before = position.floor().long().clamp(max=length - 2)
    share = (position - before)[:, None].to(signals.dtype)
    index = before[:, None].expand_as(signals)
    return signals.gather(2, index) * (1 - share) + signals.gather(2, index + 1) * share
