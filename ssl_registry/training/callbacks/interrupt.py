"""A run that is told to stop saves itself first: Ctrl-C, SIGTERM, and pre-emption on SLURM."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

__all__ = ["TERMINATED", "SaveOnInterrupt"]

# What a shell reports of a process that SIGTERM ended.
TERMINATED = 128 + signal.SIGTERM
# Optimizer steps between two questions to all ranks whether one was interrupted.
ASK_EVERY = 20


class SaveOnInterrupt(Callback):
    """A signal ends the run after the current optimizer step, with a checkpoint from which it resumes exactly.

    Lightning's own handling acts in the middle of a step, where weights, optimizer and counters disagree, or saves
    nothing at all (SIGTERM).

    - SIGINT: save and leave as Lightning does on Ctrl-C. A second one leaves at once.
    - SIGTERM: save and leave with exit code 143.
    - SLURM's warning before pre-emption (SIGUSR1 by default): save, then do what Lightning does: ask SLURM to requeue
      the job, and train on until it is ended.

    Args:
        path: where the checkpoint goes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._asked: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals; only a program's main thread may."""
        self._asked = None
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM, *_requeue_signals(trainer)]
            self._previous = {number: signal.signal(number, self._on_signal) for number in numbers}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if asked to, and stop, unless gradients are being accumulated."""
        if trainer.fit_loop._should_accumulate():
            return
        asked = self._asked or 0
        if trainer.world_size > 1:
            # Ranks get the signal at different steps and must stop at the same one; asking costs a synchronization.
            if trainer.global_step % ASK_EVERY:
                return
            asked = _largest(asked, trainer)
        if not asked:
            return
        self._asked = None
        trainer.save_checkpoint(self.path)
        if asked == signal.SIGTERM:
            raise SIGTERMException(TERMINATED)
        if asked == signal.SIGINT:
            raise KeyboardInterrupt
        self._previous[asked](asked, None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back."""
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._give_back()

    def _give_back(self) -> None:
        previous, self._previous = self._previous, {}
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _requeue_signals(trainer: Trainer) -> list[int]:
    """Return the signal on which Lightning requeues a SLURM job, if it listens for one."""
    environment = trainer._accelerator_connector.cluster_environment
    if not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
        return []
    number = environment.requeue_signal or signal.SIGUSR1
    return [number] if callable(signal.getsignal(number)) else []


def _largest(asked: int, trainer: Trainer) -> int:
    """Return the highest signal that any rank was sent: SIGTERM (15) wins over SIGUSR1 (10), that over SIGINT (2)."""
    number = torch.tensor(asked, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(number, op=torch.distributed.ReduceOp.MAX)
    return int(number)
