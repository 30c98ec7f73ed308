"""Two crops of time that overlap, as long in every sample of a batch and on every rank."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Crops", "cut", "draw_crops"]


class Crops(NamedTuple):
    """Two crops of signals, each [first, second) in moments, as they lie to each other in all samples.

    The first begins before the second, or with it, and does not end behind it: both have [start_2, end_1) in common.

    Args:
        start_1, end_1, start_2, end_2: of both crops; ``start_1`` is 0.
    """

    start_1: int
    end_1: int
    start_2: int
    end_2: int

    @property
    def overlap(self) -> int:
        """How many moments the crops have in common."""
        return self.end_1 - self.start_2


def draw_crops(length: int, seed: int) -> Crops:
    """Draw lengths and overlap of two crops, on the host, so that nothing waits for the device.

    The overlap's length is drawn evenly from 2 to ``length``, then its place, then how far each crop goes beyond it.

    Source: TS2Vec, arXiv:2106.10466, section 3.2 (random cropping), and what the authors' code draws evenly from.

    Args:
        length: of the signals, at least 2.
        seed: the same on all ranks: losses over samples of all ranks need one overlap.

    Example:
        >>> crops = draw_crops(128, seed=3)
        >>> 0 == crops.start_1 <= crops.start_2 < crops.end_1 <= crops.end_2 <= 128, crops.overlap >= 2
        (True, True)
    """
    random = np.random.default_rng(seed)
    overlap = int(random.integers(2, length + 1))
    left = int(random.integers(0, length - overlap + 1))
    before = int(random.integers(0, left + 1))
    after = int(random.integers(left + overlap, length + 1))
    return Crops(0, left + overlap - before, left - before, after - before)


def cut(x: Tensor, start: Tensor, first: int, end: int) -> Tensor:
    """Cut [start + first, start + end) out of signals [batch, channels, time], with a start [batch] for each.

    Example:
        >>> cut(torch.arange(10).view(1, 2, 5), torch.tensor([1]), 0, 3)
        tensor([[[1, 2, 3],
                 [6, 7, 8]]])
    """
    moments = start[:, None] + torch.arange(first, end, device=x.device)  # [batch, end - first]
    return x.gather(2, moments[:, None].expand(-1, x.shape[1], -1))
