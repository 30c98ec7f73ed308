"""What looks at a run while it trains: the guard, the probe, the throughput; and the probe before and after."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.pytorch import Callback

from ssl_registry.data import SSLDataModule
from ssl_registry.measures import pixels
from ssl_registry.measures.quick import can_probe, quick_probe
from ssl_registry.model.module import SSLModule
from ssl_registry.run_options import RunOptions
from ssl_registry.training.callbacks import CollapseGuard, OnlineProbe, Throughput

__all__ = ["Watch"]

log = logging.getLogger(__name__)


class Watch:
    """The callbacks of a run, and what they found.

    Args:
        run: its options ``guard`` (see `CollapseGuard`), ``knn`` (whether to measure, where the source has labels and a
            held-out part), ``probe_every``, ``probe_budget`` and ``probe_samples`` (see `OnlineProbe`).

    Attributes:
        knn, linear: accuracies by features: ``pixels``, ``untrained``, ``trained``.
    """

    def __init__(self, run: RunOptions) -> None:
        self.guard = CollapseGuard(run.guard)
        self.probe = OnlineProbe(every=run.probe_every, budget=run.probe_budget, samples=run.probe_samples)
        self.measures = run.knn
        self.knn: dict[str, float] = {}
        self.linear: dict[str, float] = {}

    @property
    def callbacks(self) -> list[Callback]:
        """For Lightning's Trainer."""
        return [self.guard, Throughput(), *([self.probe] if self.measures else [])]

    def before(self, model: SSLModule, data: SSLDataModule, device: torch.device) -> None:
        """Measure the raw input and the untrained backbone."""
        if not (self.measures and can_probe(data.source)):
            return
        most = self.probe.samples
        parts = {"training": data.source.train, "held-out": data.source.test}
        counts = {name: len(part) for name, part in parts.items() if part is not None}
        if max(counts.values()) > most:
            looked_at = " and ".join(f"{min(count, most):,} of {count:,} {name}" for name, count in counts.items())
            log.info(f"k-NN and the linear probe look at {looked_at} samples (--probe-samples)")
        self.knn["pixels"] = quick_probe(pixels, data, None, linear=False, samples=most).knn
        self.probe.expected = self._measure("untrained", model, data, device)
        log.info(f"k-NN accuracy before: {self.knn['untrained']:.3f} (raw input: {self.knn['pixels']:.3f})")

    def after(self, model: SSLModule, data: SSLDataModule, device: torch.device) -> None:
        """Measure the trained backbone."""
        if "untrained" not in self.knn:
            return
        self._measure("trained", model, data, device)
        told = [f"k-NN accuracy after: {self.knn['trained']:.3f} (before: {self.knn['untrained']:.3f})"]
        if self.linear:
            told.append(f"linear probe: {self.linear['trained']:.3f} (before: {self.linear['untrained']:.3f})")
        log.info("; ".join(told))

    def _measure(self, name: str, model: SSLModule, data: SSLDataModule, device: torch.device) -> float:
        measured = quick_probe(model.to(device).embed, data, device, samples=self.probe.samples)
        self.knn[name] = measured.knn
        if measured.linear is not None:
            self.linear[name] = measured.linear
        return measured.seconds

    def results(self, seconds: float) -> dict[str, Any]:
        """Return what belongs into ``results.json``.

        Args:
            seconds: spent in fitting.
        """
        costs = {"guard": self.guard.seconds, "probe": self.probe.seconds}
        shares = {name: {"seconds": round(cost, 3), "share": round(cost / seconds, 4)} for name, cost in costs.items()}
        return {"knn": self.knn, "linear": self.linear, "guard": self.guard.message, "watching": shares}
