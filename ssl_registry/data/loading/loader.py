"""Training batches whose order is a pure function, and that a checkpoint can continue mid-epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ssl_registry.data.loading.drawn import DrawnViews
from ssl_registry.data.sample_set import SampleSet
from ssl_registry.data.sampling import EpochSampler
from ssl_registry.errors import CheckpointError
from ssl_registry.views.keys import mix_seed

__all__ = ["ResumableLoader", "training_loader"]


_END = object()


class ResumableLoader(DataLoader[Any]):
    """A DataLoader that continues where a checkpoint left it (Lightning's ``state_dict`` protocol).

    Iterating is lazy: epoch, order and workers are taken up with the first batch, since Lightning makes the
    iterator before it tells the sampler the epoch. It draws nothing from torch's global generator.

    A position loaded by `load_state_dict` belongs to the next iterator that is made, and applies if that
    begins in the same epoch. So a look at the data with another iterator does not use it up.

    Args:
        dataset: what is loaded.
        sampler: an `EpochSampler`; Lightning puts a sequential one in its place for ``overfit_batches``.
        batch_size: samples a batch and rank.
        **options: further arguments of `torch.utils.data.DataLoader`.
    """

    def __init__(self, dataset: Dataset[Any], sampler: Any, *, batch_size: int, **options: Any) -> None:
        super().__init__(dataset, sampler=sampler, batch_size=batch_size, **{"generator": torch.Generator(), **options})
        self._position = {"epoch": 0, "batches": 0}
        self._pending: dict[str, int] | None = None
        self._waited, self._since = 0.0, time.perf_counter()

    def __iter__(self) -> Any:
        pending, self._pending = self._pending, None
        return self._iterate(pending)

    def _iterate(self, pending: dict[str, int] | None) -> Iterator[Any]:
        epoch = getattr(self.sampler, "epoch", 0)
        done = pending["batches"] if pending and pending["epoch"] == epoch else 0
        skipped = 0
        if isinstance(self.sampler, EpochSampler):
            self.sampler.start = done * (self.batch_size or 1)
        else:
            skipped = done
        if isinstance(self.dataset, DrawnViews):
            self.dataset.epoch = epoch
        # Workers' seeds are drawn from here; as a function of the epoch they do not depend on a restart.
        self.generator.manual_seed(mix_seed(getattr(self.sampler, "seed", 0), epoch, getattr(self.sampler, "rank", 0)))
        # Any other sampler cannot begin in the midst: its batches are loaded and passed over.
        batches = islice(super().__iter__(), skipped, None)
        while (batch := self._next(batches)) is not _END:
            done += 1
            self._position = {"epoch": epoch, "batches": done}
            yield batch

    def samples(self) -> DataLoader[Any]:
        """Return a loader of the samples themselves, in this epoch's order: without views, and leaving none out."""
        dataset = self.dataset.base if isinstance(self.dataset, DrawnViews) else self.dataset
        return DataLoader(
            dataset,
            sampler=self.sampler,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            generator=torch.Generator(),
        )

    def _next(self, batches: Iterator[Any]) -> Any:
        asked = time.perf_counter()
        batch = next(batches, _END)
        self._waited += time.perf_counter() - asked
        return batch

    def wait_share(self) -> float:
        """Return the share of the time since the last call in which a batch was waited for, in [0, 1].

        It is the time of this process: nothing is synchronised, so a device may still have been at work meanwhile.
        """
        now = time.perf_counter()
        share = self._waited / max(now - self._since, 1e-9)
        self._waited, self._since = 0.0, now
        return min(share, 1.0)

    def state_dict(self) -> dict[str, int]:
        """Return the position: batches handed out in which epoch, and what the order depends on."""
        return {**self._position, **self._identity()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at a position that `state_dict` gave, on any rank.

        Raises:
            CheckpointError: if it lies inside an epoch of another order.
        """
        position = {key: int(state[key]) for key in ("epoch", "batches")}
        mine = self._identity()
        changed = [f"{key}={state[key]} (now {mine[key]})" for key in mine if state.get(key, mine[key]) != mine[key]]
        # Between epochs nothing is left to continue, and the next epoch may look as it likes.
        if changed and 0 < position["batches"] < state.get("length", len(self)):
            raise CheckpointError(
                f"the checkpoint stands in the middle of an epoch ({position['batches']} batches done) over "
                f"other batches: {', '.join(changed)}. Resume with the values it was made with, or from a "
                "checkpoint that was made at an epoch's end"
            )
        self._position = position
        self._pending = position

    def _identity(self) -> dict[str, int]:
        """Everything but the epoch that batches depend on; the rank is left out, rank 0 saves for all."""
        return {
            "length": len(self),
            "samples": len(self.dataset),  # type: ignore[arg-type]  # map-style data sets have a length
            "batch_size": self.batch_size or 1,
            "seed": getattr(self.sampler, "seed", 0),
            "world_size": getattr(self.sampler, "num_replicas", 1),
        }


def training_loader(
    dataset: SampleSet,
    *,
    batch_size: int,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 0,
    pin_memory: bool = False,
    views: Callable[[SampleSet], DrawnViews] | None = None,
) -> ResumableLoader:
    """Build the loader of one rank's training batches.

    All batches are full where there are samples for one on every rank: the remainder of an epoch is left out,
    and another shuffle leaves out others. A smaller set gives one smaller batch.

    Args:
        dataset: the samples.
        batch_size: samples a batch and rank.
        seed: of the order, the same on all ranks.
        rank, world_size: of this process.
        num_workers: processes that load; the batches do not depend on it.
        pin_memory: load into page-locked memory, for a CUDA device.
        views: puts views in the place of samples.
    """
    full = len(dataset) >= batch_size * world_size
    sampler, num_workers = dataset.make_sampler(
        batch_size=batch_size, num_workers=num_workers, seed=seed, rank=rank, world_size=world_size, drop_last=full
    )
    return ResumableLoader(
        dataset if views is None else views(dataset),
        sampler=sampler,  # by name, as Lightning replaces it by name
        batch_size=batch_size,
        num_workers=num_workers,
        drop_last=full,
        pin_memory=pin_memory,
    )
