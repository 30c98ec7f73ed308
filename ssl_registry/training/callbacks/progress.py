"""A progress bar that counts epochs as people do, and tells how long the whole run still takes."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from ssl_registry.training.callbacks.pace import Pace, resting_parts
from ssl_registry.training.estimate import duration

__all__ = ["Progress"]


class Progress(RichProgressBar):
    """Lightning's bar with ``Epoch 3/10``, counted from 1.

    Lightning counts from 0, and tells of a run that steps or time limit as ``Epoch 14/-2``. The number of a version is
    left out: a run has one folder. Beside the bar of the epoch stand samples a second, the time left of the run, and
    what is frozen in this epoch, where a method trains its parts by turns.
    """

    def _get_train_description(self, current_epoch: int) -> str:
        """Overrides a private method of Lightning 2.6, which offers no other place; see `test_progress`."""
        epochs = self.trainer.max_epochs
        text = f"Epoch {current_epoch + 1}" + ("" if epochs in (None, -1) else f"/{epochs}")
        return text.ljust(len(self.validation_description))  # bars of one width do not flicker

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands beside the bar."""
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        pace = next((one for one in trainer.callbacks if isinstance(one, Pace)), None)  # type: ignore[attr-defined]
        if resting := resting_parts(pl_module):
            items["frozen"] = resting
        if pace is not None and pace.samples is not None:
            items["samples/s"] = f"{pace.samples:,.0f}"
        if pace is not None and pace.left:
            items["run"] = f"{duration(pace.left)} left"
        return items
