"""`Sitting`: one of the sessions in which a run is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["Sitting"]


class Sitting(Callback):
    """Tells that training has begun, behind the restoring of a checkpoint, and counts seconds over all sittings.

    A sitting that was killed counts up to its last checkpoint: the steps behind it are made again.

    Args:
        on_begin: is called on the first process once a checkpoint, if there is one, is restored.
    """

    def __init__(self, on_begin: Callable[[], None] = lambda: None) -> None:
        self.on_begin = on_begin
        self._before = 0.0
        self._began: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether this sitting trains; a run that was finished before has nothing left to train."""
        return self._began is not None

    @property
    def seconds(self) -> float:
        """Spent in training, over all sittings."""
        return self._before + (0.0 if self._began is None else time.monotonic() - self._began)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._began = time.monotonic()
        if trainer.is_global_zero:
            self.on_begin()

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting from those of the checkpoint; what is no time counts as none."""
        seconds = state_dict.get("seconds")
        is_time = isinstance(seconds, float) and math.isfinite(seconds) and seconds >= 0
        self._before = seconds if is_time and seconds is not None else 0.0
