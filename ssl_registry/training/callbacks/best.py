"""The best epoch by a part of the training data; the test part is not used."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from ssl_registry.data.arrays.labels import stratified_holdout
from ssl_registry.measures.features import extract_features
from ssl_registry.measures.knn import knn_accuracy
from ssl_registry.measures.targets import labeled_only
from ssl_registry.model.module import SSLModule
from ssl_registry.training.callbacks.divergence import weights_are_finite

__all__ = ["BestEpoch"]

# Enough to tell epochs apart, and a second or two to measure.
MAX_SAMPLES = 5_000
HELD_OUT_SHARE = 0.2


class BestEpoch(Callback):
    """Keep a checkpoint of the epoch whose k-NN accuracy on held-out training samples is the highest.

    A fifth of (at most 5,000) training samples is voted for by the others; the first of equal epochs is kept, and none
    with weights that are not finite. Needs an
    `SSLDataModule` of a labelled source. Its state is in the checkpoints, so a resumed run goes on comparing.

    Args:
        path: of the checkpoint.
        every: epochs between two measurements.

    Attributes:
        epoch: the best one, counted from 1; 0 before there is one.
        accuracy: reached there, in [0, 1].
        seconds: spent measuring.
    """

    def __init__(self, path: Path, *, every: int = 1) -> None:
        self.path = path
        self.every = every
        self.epoch = 0
        self.accuracy = -1.0
        self.seconds = 0.0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, and save what is better than all before."""
        epoch = trainer.current_epoch + 1
        last = epoch == trainer.max_epochs
        if not isinstance(pl_module, SSLModule) or (epoch % self.every and not last):
            return
        if not weights_are_finite(trainer):
            return
        started = time.monotonic()
        accuracy = self._measure(trainer, pl_module)
        self.seconds += time.monotonic() - started
        if accuracy > self.accuracy:
            self.epoch, self.accuracy = epoch, accuracy
            trainer.save_checkpoint(self.path)

    def _measure(self, trainer: Trainer, model: SSLModule) -> float:
        loader = trainer.datamodule.train_eval_dataloader(limit=MAX_SAMPLES)  # type: ignore[attr-defined]  # set in a helper
        x, y = extract_features(model.embed, loader, device=model.device)
        x, y = labeled_only(x, y)
        if y is None:
            return 0.0
        if not bool(x.isfinite().all()):  # of weights that are finite still
            return -1.0
        bank, held = stratified_holdout(np.asarray(y), HELD_OUT_SHARE, seed=0)
        return knn_accuracy(x[bank], y[bank], x[held], y[held])

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to know."""
        return {"epoch": self.epoch, "accuracy": self.accuracy, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.epoch, self.accuracy = state_dict["epoch"], state_dict["accuracy"]
        self.seconds = state_dict["seconds"]
