"""Samples per second, logged where everything else is."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ssl_registry.model.batches import read_batch
from ssl_registry.model.module import SSLModule

__all__ = ["Throughput"]


class Throughput(Callback):
    """Log ``samples_per_second`` of all processes together at each logged step, over the steps since the last one.

    Counting costs a microsecond a batch and never waits for the device. What other callbacks do at an epoch's end
    does not count.
    """

    def __init__(self) -> None:
        self._samples = 0
        self._since: float | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count anew."""
        self._restart()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch, and log when it is time."""
        if not isinstance(pl_module, SSLModule):
            return
        self._samples += len(read_batch(batch, pl_module.input_shape)[0])
        if trainer.fit_loop._should_accumulate() or trainer.global_step % pl_module.log_interval:
            return
        if self._since is not None and trainer.is_global_zero:
            rate = self._samples * trainer.world_size / (time.perf_counter() - self._since)
            for logger in trainer.loggers:
                logger.log_metrics({"samples_per_second": rate}, step=trainer.global_step - 1)
        self._restart()

    def _restart(self) -> None:
        self._samples, self._since = 0, time.perf_counter()
