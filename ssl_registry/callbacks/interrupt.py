"""Ctrl-C in the midst of a run: a checkpoint first, then the end."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["SaveOnInterrupt"]


# Optimizer steps between two questions to all ranks whether one was interrupted.
ASK_EVERY = 20


class SaveOnInterrupt(Callback):
    """Ctrl-C ends the run behind the current optimizer step, with a checkpoint from which it resumes exactly.

    Lightning's own handling raises in the midst of a step, where weights, optimizer and counters disagree. A second
    Ctrl-C does that at once.

    Args:
        path: where the checkpoint goes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._asked = False
        self._previous: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over SIGINT."""
        self._asked = False
        self._previous = signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if asked to, unless gradients are being accumulated."""
        if trainer.fit_loop._should_accumulate():
            return
        asked = self._asked
        if trainer.world_size > 1:
            # Ranks hear of it at different steps and must stop at the same one; asking costs a synchronisation.
            if trainer.global_step % ASK_EVERY:
                return
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give SIGINT back."""
        signal.signal(signal.SIGINT, self._previous)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give SIGINT back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
