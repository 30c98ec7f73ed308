"""What a backbone is worth while it trains, with the clock stopped; for `accuracy.py`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ssl_registry.data import Source, SSLDataModule
from ssl_registry.measures import extract_features, knn_accuracy, linear_probe
from ssl_registry.runs.opened import RawNetwork

LOOKS = 6
STRENGTH = 0.1  # scikit-learn's C on standardised features; a sweep would cost more than the training


@dataclass(frozen=True)
class Look:
    """What the features are worth after some steps, and after so many seconds of wall clock and of this process."""

    step: int
    seconds: float
    cpu_seconds: float
    knn: float
    linear: float


class Watch(Callback):
    """Judge a backbone before the first step and some times on the way, at last behind the last step.

    Args:
        network: the backbone with what prepares its samples.
        source: whose training part is the bank, and whose test part is judged.
        k: neighbours.
        looks: how often behind the first step.
    """

    def __init__(self, network: RawNetwork, source: Source, *, k: int, looks: int = LOOKS) -> None:
        self.network, self.k, self.number = network, k, looks
        self.loaders = SSLDataModule(source, batch_size=512)
        self.looks: list[Look] = []
        self._stopped = (0.0, 0.0)  # what either clock showed when the time that counts was zero

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks."""
        self._stopped = clocks(pl_module.device)
        self.look(0, pl_module.device)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Look when another share of the steps is done."""
        step, steps = trainer.global_step, trainer.max_steps
        if step * self.number // steps > (step - 1) * self.number // steps:
            self.look(step, pl_module.device)

    def look(self, step: int, device: torch.device) -> None:
        """Judge, with the clocks stopped."""
        begun = clocks(device)
        wall, cpu = (now - stopped for now, stopped in zip(begun, self._stopped, strict=True))
        x, y = extract_features(self.network, self.loaders.train_eval_dataloader(), device=device)
        x_test, y_test = extract_features(self.network, self.loaders.test_dataloader(), device=device)
        knn = knn_accuracy(x, y, x_test, y_test, k=self.k)
        linear = linear_probe(x, y, x_test, y_test, candidates=[STRENGTH]).metrics["accuracy"]
        self.looks.append(Look(step, wall, cpu, knn, linear))
        spent = (now - then for now, then in zip(clocks(device), begun, strict=True))
        self._stopped = tuple(stopped + more for stopped, more in zip(self._stopped, spent, strict=True))


def raw_pixels(source: Source, k: int) -> Look:
    """Judge the samples themselves, as a network without layers."""
    (x, y), (x_test, y_test) = (
        (samples.x.flatten(1).float() / 255, samples.y) for samples in (source.train, source.test)
    )
    linear = linear_probe(x, y, x_test, y_test, candidates=[STRENGTH]).metrics["accuracy"]
    return Look(0, 0.0, 0.0, knn_accuracy(x, y, x_test, y_test, k=k), linear)


def judge(network: RawNetwork, source: Source, k: int) -> Look:
    """Judge a network that does not train."""
    watch = Watch(network, source, k=k)
    watch.look(0, torch.device("cpu"))
    return watch.looks[0]


def clocks(device: torch.device) -> tuple[float, float]:
    """Return seconds of wall clock, and of CPU that this process has used, behind all that the device was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter(), time.process_time()
