"""`Pace`: how long a run takes, told once it can be measured; and lines on the way where output is no terminal."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ssl_registry._system.memory import peak_memory
from ssl_registry.model.batches import read_batch
from ssl_registry.model.module import SSLModule
from ssl_registry.training.estimate import Estimate, duration

__all__ = ["Pace", "batches_of", "resting_parts"]

log = logging.getLogger(__name__)

WARM_UP, MEASURED = 3, 8  # batches in which workers start and kernels are chosen, and those that are measured
BETWEEN_LINES = 60.0  # seconds


def batches_of(trainer: Trainer) -> int | None:
    """Return the batches of a run in all; None where its end is not known."""
    limits: list[float] = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        limits.append(trainer.num_training_batches * trainer.max_epochs)
    if trainer.max_steps > 0:
        limits.append(trainer.max_steps * trainer.accumulate_grad_batches)
    total = min(limits, default=math.inf)
    return None if math.isinf(total) else int(total)


def resting_parts(model: LightningModule) -> str:
    """Name what is frozen as a whole now, such as LFR's predictors while its backbone trains; empty for nothing."""
    frozen = model.frozen if isinstance(model, SSLModule) else frozenset()
    return ", ".join(sorted(name for name in frozen if "." not in name))


class Pace(Callback):
    """Tell the time and memory of a run behind its first batches, and where it stands at each epoch's end.

    Args:
        estimate: whether to tell them; False where they were told before the run.

    Attributes:
        lines: whether to log a line an epoch, and one a minute: where there is no bar.
        rate: batches a second since the run began; None before the second one.
        samples: of all processes, a second; None of a module that is no `SSLModule`.
        left: seconds left of the run; None where its end is not known.
    """

    def __init__(self, *, estimate: bool = True) -> None:
        self.estimate, self.lines = estimate, False
        self.rate: float | None = None
        self.samples: float | None = None
        self.left: float | None = None
        self._began: tuple[float, int] | None = None
        self._measured: float | None = None
        self._told = 0.0
        self._losses: list[torch.Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._began, self._done, self._told = None, 0, time.monotonic()
        self._losses.clear()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count, and tell when it is time."""
        now, done = time.monotonic(), trainer.fit_loop.total_batch_idx + 1
        total = batches_of(trainer)
        self._done += 1
        if self._began is None:
            self._began = now, done
        else:
            self.rate = (done - self._began[1]) / max(now - self._began[0], 1e-9)
            self.left = None if total is None else max(0, total - done) / self.rate
            if isinstance(pl_module, SSLModule):
                size = len(read_batch(batch, pl_module.input_shape)[0])
                self.samples = size * trainer.world_size * self.rate
        if self.estimate and self._done in (WARM_UP, WARM_UP + MEASURED):
            self._estimate(pl_module.device, total)
        if self.lines and trainer.is_global_zero:
            loss = outputs["loss"] if isinstance(outputs, dict) else outputs
            if isinstance(loss, torch.Tensor):
                # Lightning has divided it by the micro-batches of a step.
                self._losses.append(loss.detach() * trainer.accumulate_grad_batches)
            if now - self._told >= BETWEEN_LINES:
                self._line(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell where the run stands."""
        if self.lines and trainer.is_global_zero:
            self._line(trainer, pl_module)

    def _estimate(self, device: torch.device, total: int | None) -> None:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)  # twice in a run: what was queued is not done
        now = time.monotonic()
        if self._measured is None:
            self._measured = now
        elif total is not None:
            log.info(str(Estimate((now - self._measured) / MEASURED, total, peak_memory(), device.type == "cpu")))

    def _line(self, trainer: Trainer, model: LightningModule) -> None:
        self._told = time.monotonic()
        epochs = trainer.max_epochs
        words = [f"epoch {trainer.current_epoch + 1}" + ("" if epochs in (None, -1) else f"/{epochs}")]
        words.append(f"step {trainer.global_step}")
        if self._losses:
            words.append(f"loss {float(torch.stack(self._losses).mean()):.4g}")
            self._losses.clear()
        if resting := resting_parts(model):
            words.append(f"frozen: {resting}")
        if self.samples is not None:
            words.append(f"{self.samples:,.0f} samples a second")
        if self.left:
            words.append(f"{duration(self.left)} left")
        log.info(", ".join(words))
