"""Whole training steps, through the Trainer that a training uses."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ssl_registry._system.memory import peak_memory
from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.loading.drawn import ViewPlan
from ssl_registry.model.module import SSLModule
from ssl_registry.runs.folder import Run
from ssl_registry.training.trainer import make_trainer

__all__ = ["Setting", "Steps", "with_data", "without_data"]

WARM_UP = 3  # steps in which workers start, kernels are chosen and networks are compiled


@dataclass(frozen=True)
class Setting:
    """What can be told to a training, and changes how fast it is.

    Args:
        workers: processes that load.
        batch_size: samples a step.
        compile: whether networks go through torch.compile.
        engine: who draws views: ``host``, ``device``, ``split``, or ``auto``.
    """

    workers: int
    batch_size: int
    compile: bool = False
    engine: str = "auto"


@dataclass(frozen=True)
class Steps:
    """How fast training steps were.

    Args:
        rate: samples a second.
        data_wait: share of the time in which the process waited for a batch.
        peak_memory: see `ssl_registry._system.memory.peak_memory`.
    """

    rate: float
    data_wait: float
    peak_memory: int


class _Stopwatch(Callback):
    """Measures what lies between the end of the warm-up and the end of the last step."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self.wait = 0.0
        self._done = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._done += 1
        if self._done == WARM_UP:
            self.began = self._now(pl_module)
            self._wait_share(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended = self._now(pl_module)
        self.wait = self._wait_share(trainer)

    @staticmethod
    def _now(pl_module: LightningModule) -> float:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        return time.perf_counter()

    @staticmethod
    def _wait_share(trainer: Trainer) -> float:
        measure = getattr(trainer.train_dataloader, "wait_share", None)
        return 0.0 if measure is None else float(measure())


class _Same:
    """A loader that gives one batch again and again. Lightning takes a list for several loaders."""

    def __init__(self, batch: list[Tensor], times: int) -> None:
        self.batch, self.times = batch, times

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[list[Tensor]]:
        return repeat(self.batch, self.times)


def with_data(
    model: SSLModule,
    source: Source,
    drawing: ViewPlan,
    setting: Setting,
    steps: int,
    trainer: Mapping[str, Any],
) -> Steps:
    """Train for some steps as a training would.

    Args:
        model: a new one; it is changed.
        source: what it trains on.
        drawing: who draws its views.
        setting: how, apart from that.
        steps: measured ones, after a warm-up.
        trainer: further arguments of Lightning's Trainer.
    """
    data = SSLDataModule(source, batch_size=setting.batch_size, num_workers=setting.workers, draw=drawing)
    size = min(setting.batch_size, len(source.train))
    return _fit(model, setting, steps, trainer, size, datamodule=data)


def without_data(
    model: SSLModule, views: list[Tensor], setting: Setting, steps: int, trainer: Mapping[str, Any]
) -> Steps:
    """Train for some steps on ready-made views, always the same: forward, backward and the optimizer alone."""
    return _fit(model, setting, steps, trainer, len(views[0]), train_dataloaders=_Same(views, WARM_UP + steps))


def _fit(model: SSLModule, setting: Setting, steps: int, trainer: Mapping[str, Any], size: int, **data: Any) -> Steps:
    if setting.compile:
        model.compile_networks()
    watch = _Stopwatch()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "devices": 1,
            **trainer,
            "callbacks": [watch],
            "max_steps": WARM_UP + steps,
            "max_epochs": -1,
            "max_time": None,
        }
        lightning = make_trainer(arguments, Run(Path(folder)))
        lightning.fit(model, **data)
    return Steps(size * steps / (watch.ended - watch.began), watch.wait, peak_memory())
