"""`EpochSampler`: an order of samples that is a pure function of seed, epoch, rank and world size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, DistributedSampler

from ssl_registry.views.keys import mix_seed

__all__ = ["EpochSampler"]


class EpochSampler(DistributedSampler[int]):
    """Draw one rank's share of a shuffled epoch: a pure function of (seed, epoch, rank, world_size).

    Lightning leaves a `DistributedSampler` alone where it would wrap any other, and tells it the epoch.

    Args:
        dataset: what is drawn from.
        seed: of all orders.
        rank, world_size: of this process.
        drop_last: leave out the remainder that does not divide among the ranks; otherwise a few samples are
            drawn twice, so that every rank makes as many steps.
    """

    def __init__(
        self, dataset: Dataset[Any], *, seed: int, rank: int = 0, world_size: int = 1, drop_last: bool = False
    ) -> None:
        super().__init__(dataset, num_replicas=world_size, rank=rank, shuffle=True, seed=seed, drop_last=drop_last)
        self.start = 0  # samples that the next iteration leaves out

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        order = shuffled(len(self.dataset), self.seed, self.epoch)  # type: ignore[arg-type]  # Dataset has no len
        # Repeating the order fills up to `total_size`; where it is shorter, the remainder is left out.
        order = np.resize(order, self.total_size)
        return iter(order[self.rank :: self.num_replicas][start:].tolist())


def shuffled(count: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return 0 to count-1 in the order of one epoch.

    >>> shuffled(5, seed=0, epoch=0).tolist() == shuffled(5, seed=0, epoch=0).tolist()
    True
    """
    generator = torch.Generator().manual_seed(mix_seed(seed, epoch))
    order: np.ndarray[tuple[int], np.dtype[np.int64]] = torch.randperm(count, generator=generator).numpy()
    return order
