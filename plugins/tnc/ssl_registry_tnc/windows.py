"""Windows of signals: where they begin, near a window and far from it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cut_windows", "far_starts", "near_starts", "share_of"]


def share_of(uniform: Tensor, count: Tensor | int) -> Tensor:
    """Return whole numbers from 0 to ``count - 1``, each as likely, from numbers in [0, 1).

    Example:
        >>> share_of(torch.tensor([0.0, 0.5, 0.999]), 4)
        tensor([0, 2, 3])
    """
    return (uniform * count).long().clamp(max=count - 1)


def near_starts(starts: Tensor, normal: Tensor, *, width: float, last: int) -> Tensor:
    """Return where neighbors begin: a normal distribution around the window's own start.

    Source: Tonekaboni et al., 2021, arXiv:2106.00750, section 2: the neighborhood of a time t is N(t, eta * delta).

    Args:
        starts: int64 [batch].
        normal: standard normal numbers [pairs, batch].
        width: standard deviation, in moments.
        last: the last start of a window within the signal; what would begin beyond it begins there.

    Returns:
        int64 [pairs, batch].

    Example:
        >>> near_starts(torch.tensor([4, 9]), torch.tensor([[1.0, 1.0]]), width=2, last=10)
        tensor([[ 6, 10]])
    """
    return (starts + (normal * width).round().long()).clamp(0, last)


def far_starts(starts: Tensor, uniform: Tensor, *, distance: int, last: int) -> Tensor:
    """Return where windows begin that are farther than ``distance`` from the window's own start, each as likely.

    Args:
        starts: int64 [batch].
        uniform: numbers in [0, 1), [pairs, batch].
        distance: in moments; ``last`` must be more than twice as large, so that each window has some far ones.
        last: the last start of a window within the signal.

    Returns:
        int64 [pairs, batch].

    Example:
        >>> far_starts(torch.tensor([3]), torch.tensor([[0.0], [0.5], [0.9]]), distance=2, last=9)[:, 0]
        tensor([0, 7, 9])
    """
    before = (starts - distance).clamp(min=0)  # so many starts are far in front
    behind = (last - starts - distance).clamp(min=0)
    place = share_of(uniform, before + behind)
    return torch.where(place < before, place, place - before + starts + distance + 1)


def cut_windows(x: Tensor, starts: Tensor, window: int) -> Tensor:
    """Cut windows out of signals [batch, channels, time]: [pairs * batch, channels, window], for starts [pairs, batch].

    Example:
        >>> cut_windows(torch.arange(6).view(1, 1, 6), torch.tensor([[0], [3]]), 2).flatten(1)
        tensor([[0, 1],
                [3, 4]])
    """
    pairs, channels = len(starts), x.shape[1]
    moments = starts[..., None] + torch.arange(window, device=x.device)  # [pairs, batch, window]
    index = moments[:, :, None].expand(-1, -1, channels, -1)
    return x.expand(pairs, *x.shape).gather(3, index).flatten(0, 1)
