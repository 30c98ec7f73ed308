"""`ShardSampler`: an order of samples that reads shards from front to back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.sampling import EpochSampler
from ssl_registry.views.keys import mix_seed

__all__ = ["ShardSampler", "lanes_for"]

Order = NDArray[np.int64]
LANES = (12, 6, 4, 3, 2, 1)


def lanes_for(shards: int, world_size: int) -> int:
    """Return how many streams a rank reads side by side; no more than it has shards."""
    return next(lanes for lanes in LANES if lanes <= max(1, shards // world_size))


class ShardSampler(EpochSampler):
    """Draw one rank's share of an epoch over shards: a pure function of (seed, epoch, rank, world_size).

    Shards are shuffled, and the samples of a shard within blocks that fit into memory. Ranks take equal pieces of
    that order, and each rank's piece has lanes: batch k comes from lane k mod lanes. A DataLoader gives batches to
    its workers in turn, so a number of workers that divides the lanes reads each lane in one worker alone; with any
    other the batches are the same, and more is read.

    Args:
        shard, block: of each sample: the number of its shard, and of its block in that.
        batch_size: samples a batch and rank.
        seed, rank, world_size, drop_last: see `EpochSampler`.
    """

    def __init__(
        self,
        shard: Order,
        block: Order,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        super().__init__(range(len(shard)), seed=seed, rank=rank, world_size=world_size, drop_last=drop_last)  # type: ignore[arg-type]  # has a length, all it asks for
        self.batch_size = batch_size
        self.lanes = lanes_for(len(np.unique(shard)), world_size)
        if drop_last:  # whole batches on every rank
            self.num_samples = len(shard) // (batch_size * world_size) * batch_size
            self.total_size = self.num_samples * world_size
        self._shard, self._block = shard, block

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        order = np.resize(self._streaming_order(), self.total_size)
        mine = order[self.rank * self.num_samples : (self.rank + 1) * self.num_samples]
        return iter(self._interleaved(mine)[start:].tolist())

    def _streaming_order(self) -> Order:
        """Shuffle shards, and samples within their blocks."""
        random = np.random.default_rng(mix_seed(self.seed, self.epoch))
        place = random.permutation(int(self._shard.max()) + 1)
        # By the shard's place, then by the block in it, then at random.
        order: Order = np.lexsort((random.random(len(self._shard)), self._block, place[self._shard]))
        return order

    def _interleaved(self, mine: Order) -> Order:
        """Let batch k come from lane k mod lanes, each lane a piece of its own."""
        batches = -(-len(mine) // self.batch_size)
        lane = np.arange(batches) % self.lanes
        # Batches sorted by lane lie in the order of reading; the inverse tells where batch k was read.
        read_at = np.argsort(np.argsort(lane, kind="stable"), kind="stable")
        pieces = [mine[at * self.batch_size : (at + 1) * self.batch_size] for at in read_at.tolist()]
        return np.concatenate(pieces) if pieces else mine
