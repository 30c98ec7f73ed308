"""`SSLDataModule`: a source, for Lightning's Trainer."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Subset

from ssl_registry.data.loading.device_cache import on_device
from ssl_registry.data.loading.drawn import DrawnViews, ViewPlan
from ssl_registry.data.loading.loader import ResumableLoader, training_loader
from ssl_registry.data.loading.resume import mend_loops
from ssl_registry.data.sample_set import SampleSet
from ssl_registry.data.source import Source
from ssl_registry.errors import ConfigError, DataError
from ssl_registry.views import ViewPolicy

__all__ = ["SSLDataModule"]


class SSLDataModule(LightningDataModule):
    """Load a source: shuffled for training, in order for evaluation.

    Training batches are a pure function of seed, epoch, rank and world size, whatever ``num_workers`` is, and
    a run that is resumed from a checkpoint made at any step continues with the batches that were to come. A set that
    fits into a quarter of a CUDA device's free memory is kept there, and needs no workers.

    Args:
        source: what `open_source` gave.
        batch_size: samples a batch, on each device.
        num_workers: processes that load beside the main one. 0 is fastest for data in memory; image files
            want about as many as there are cores.
        seed: of the order of training batches, and of the views that they carry.
        draw: has training batches carry views, or what they are drawn with: what `choose_view_plan` gave. By default
            the batches that train a model with views carry what its device draws them with, and the samples' numbers
            (`ssl_registry.data.loading.drawn.DrawnViews`); all others are ``(samples, labels)`` or samples alone.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if the source has no training samples.

    Example:
        >>> from ssl_registry.data import open_source
        >>> data = SSLDataModule(open_source("digits"), batch_size=64)
        >>> images, labels = next(iter(data.train_dataloader()))
        >>> images.shape, images.dtype, labels.shape
        (torch.Size([64, 1, 16, 16]), torch.uint8, torch.Size([64]))
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int = 256,
        num_workers: int = 0,
        seed: int = 0,
        draw: ViewPlan | None = None,
    ) -> None:
        super().__init__()
        _check("batch_size", batch_size, least=1)
        _check("num_workers", num_workers, least=0)
        _check("seed", seed, least=0)
        if len(source.train) == 0:
            raise DataError(f"{source.name} has no training samples; give a source with at least one")
        self.source = source
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._resident: SampleSet | None = None  # the training part, on the device if it fits there
        self.draw = draw

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled batches of this rank; full ones, where there are samples for one."""
        rank, world_size = 0, 1
        if self.trainer is not None:
            mend_loops(self.trainer)
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
        train, workers, pins = self.source.train, self.num_workers, self._pins_memory()
        plan = self.draw or self._plan()
        if self.trainer is not None and (plan is None or plan.host is None):
            if self._resident is None:
                self._resident = on_device(train, self.trainer.strategy.root_device)
            if self._resident is not train:
                train, workers, pins = self._resident, 0, False
        return training_loader(
            train,
            batch_size=self.batch_size,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            num_workers=workers,
            pin_memory=pins,
            views=None if plan is None else partial(DrawnViews, plan=plan, seed=self.seed),
        )

    def _plan(self) -> ViewPlan | None:
        """Leave the views to the device of the model that is trained, if it draws any."""
        policy = None if self.trainer is None else getattr(self.trainer.lightning_module, "view_policy", None)
        return ViewPlan(policy) if isinstance(policy, ViewPolicy) else None

    def train_eval_dataloader(self, limit: int | None = None) -> DataLoader[Any]:
        """Every training sample once, in order; all of them on each rank.

        Args:
            limit: at most so many samples, the same ones each time: of each class its share where labels can be had
                without the samples, else spread evenly.
        """
        return self._ordered(_limited(self.source.train, limit))

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """The test part in order, or an empty list."""
        return self.test_dataloader()

    def test_dataloader(self, limit: int | None = None) -> DataLoader[Any] | list[Any]:
        """The test part in order, or an empty list.

        Args:
            limit: as `train_eval_dataloader`.
        """
        return [] if self.source.test is None else self._ordered(_limited(self.source.test, limit))

    def _ordered(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        # A generator of its own: a DataLoader draws its workers' seeds from the global one, and an evaluation
        # in the middle of training would change what follows.
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            generator=torch.Generator(),
            pin_memory=self._pins_memory(),
        )

    def _pins_memory(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"


def _limited(dataset: SampleSet, limit: int | None) -> Dataset[Any]:
    count = len(dataset)
    if limit is None or limit >= count:
        return dataset
    _check("limit", limit, least=1)
    labels = dataset.labels
    order = torch.arange(count)
    if labels is not None and labels.ndim == 1:  # evenly over samples in the order of classes: each has its share
        order = labels.argsort(stable=True)
        if not labels.is_floating_point():
            order = order[int((labels < 0).sum()) :]  # nothing is measured on samples without a label
    limit = min(limit, len(order))
    spread = order[torch.arange(limit) * len(order) // max(limit, 1)].sort().values
    return Subset(dataset, spread.tolist())


def _check(name: str, number: object, *, least: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ConfigError(f"{name}={number!r} must be a whole number of at least {least}")
