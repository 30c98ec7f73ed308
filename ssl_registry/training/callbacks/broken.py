"""The images that could not be read are named in a file of the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ssl_registry._system.terminal import in_unicode
from ssl_registry.data import broken_samples

__all__ = ["NameBroken"]


class NameBroken(Callback):
    """Writes, at each epoch's end, a line for every image that could not be read: its name, a tab, and why.

    Args:
        path: of the file; it is not made where nothing is broken. Ranks and resumed runs add to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add what was found in this epoch."""
        self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add what was found in an epoch that a limit cut short."""
        self._write(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Add what was found until then: perhaps it tells why."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        source = getattr(_datamodule(trainer), "source", None)
        found = broken_samples(source) if source is not None else {}
        if not found:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        known = {line.partition("\t")[0] for line in text.splitlines()}
        told = {in_unicode(name): in_unicode(why) for name, why in found.items()}
        new = "".join(f"{name}\t{why}\n" for name, why in told.items() if name not in known)
        if new:
            # One write at the file's end: lines of several ranks do not mix.
            with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), "wb", buffering=0) as file:
                file.write(new.encode())


def _datamodule(trainer: Trainer) -> Any:
    return getattr(trainer, "datamodule", None)  # Lightning gives it to a trainer only when there is one
