"""Views of signals [batch, channels, time]: time is the last axis, and channels of a sample move together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.views.device.random import Random
from ssl_registry.views.specs import SignalView

__all__ = ["draw_signal_view", "permute_segments", "warp_time"]

# Points of the smooth curve along which time is stretched.
WARP_KNOTS = 4


def draw_signal_view(signals: Tensor, view: SignalView, random: Random) -> Tensor:
    """Draw one view of every signal (Um et al., 2017, arXiv:1706.00527, for what each operation means)."""
    batch, channels, _ = signals.shape
    if view.time_warp:
        stretch = torch.exp(view.time_warp * random.normal((batch, WARP_KNOTS)))
        signals = warp_time(signals, stretch)
    if view.permutation > 1:
        cuts = random.uniform(0, 1, (batch, view.permutation - 1)).sort(1).values
        signals = permute_segments(signals, cuts, random.order(batch, view.permutation))
    if view.scaling:
        signals = signals * (1 + view.scaling * random.normal((batch, channels, 1)))
    if view.channel_dropout:
        kept = ~random.chance(view.channel_dropout, batch * channels).view(batch, channels, 1)
        signals = signals * kept
    if view.jitter:
        signals = signals + view.jitter * random.normal(tuple(signals.shape))
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
