"""What looks at a run while it trains: the guards, the probe, the throughput; and the probe before and after."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.pytorch import Callback

from ssl_registry.data import SSLDataModule
from ssl_registry.measures.features import raw_input
from ssl_registry.measures.quick import QuickProbe, can_probe, quick_probe
from ssl_registry.measures.retrieval import retrieval
from ssl_registry.model.module import SSLModule
from ssl_registry.nn import evaluating
from ssl_registry.run_options import RunOptions
from ssl_registry.training.callbacks import CollapseGuard, DivergenceGuard, OnlineProbe, Throughput
from ssl_registry.training.callbacks.guard import MAX_SAMPLES

__all__ = ["Watch"]

log = logging.getLogger(__name__)

RETRIEVED = 512  # samples of which one view is to find the other


class Watch:
    """The callbacks of a run, and what they found.

    Args:
        run: its options ``guard`` (see `CollapseGuard` and `DivergenceGuard`), ``knn`` (whether to measure, where the
            source has labels and a held-out part), ``probe_every``, ``probe_budget`` and ``probe_samples`` (see
            `OnlineProbe`).

    Attributes:
        knn, linear: accuracies by features: ``pixels`` (the raw input), ``untrained`` (or ``start``, where training
            begins with weights), ``trained``.
        neighbours: without labels, the share of samples whose second view is nearest to the first (see `retrieval`),
            before and after training; None where the method draws no two views alike in size.
    """

    def __init__(self, run: RunOptions) -> None:
        self.guard, self.divergence = CollapseGuard(run.guard), DivergenceGuard(run.guard)
        self.probe = OnlineProbe(every=run.probe_every, budget=run.probe_budget, samples=run.probe_samples)
        self.measures = run.knn
        self.begun_as = "start" if run.pretrained or run.start_from is not None else "untrained"
        self.held_out = 0
        self.neighbours: tuple[float, float] | None = None
        self._neighbours_before: float | None = None
        self._rank_most = 0
        self.knn: dict[str, float] = {}
        self.linear: dict[str, float] = {}

    @property
    def callbacks(self) -> list[Callback]:
        """For Lightning's Trainer."""
        return [self.divergence, self.guard, Throughput(), *([self.probe] if self.measures else [])]

    @property
    def message(self) -> str | None:
        """What the guards said; a divergence explains everything else."""
        return self.divergence.message or self.guard.message

    def before(self, model: SSLModule, data: SSLDataModule, device: torch.device) -> None:
        """Measure the raw input and the backbone as training begins with it."""
        self._rank_most = min(MAX_SAMPLES, data.batch_size, len(data.source.train), model.feature_dim)
        if not self.measures:
            return
        if not can_probe(data.source):
            self._neighbours_before = self._retrieval(model, data, device)
            return
        most = self.probe.samples
        parts = {"training": data.source.train, "held-out": data.source.test}
        counts = {name: len(part) for name, part in parts.items() if part is not None}
        if max(counts.values()) > most:
            looked_at = " and ".join(f"{min(count, most):,} of {count:,} {name}" for name, count in counts.items())
            log.info(f"k-NN and the linear probe look at {looked_at} samples (--probe-samples)")
        self.held_out = min(counts["held-out"], most)
        raw = quick_probe(raw_input, data, None, samples=most)
        begun = self._measure(self.begun_as, model, data, device)
        if raw is None or begun is None:
            log.info("No k-NN accuracy: the samples or the features before training hold NaN or infinity")
            self.knn, self.linear = {}, {}
            return
        self.knn["pixels"] = raw.knn
        if raw.linear is not None:
            self.linear["pixels"] = raw.linear
        self.probe.expected = begun.seconds
        log.info(f"k-NN accuracy before: {begun.knn:.3f} (raw input: {raw.knn:.3f})")

    def after(self, model: SSLModule, data: SSLDataModule, device: torch.device) -> None:
        """Measure the trained backbone."""
        if self._neighbours_before is not None:
            after = self._retrieval(model, data, device)
            self.neighbours = None if after is None else (self._neighbours_before, after)
        if self.begun_as not in self.knn:
            return
        if self._measure("trained", model, data, device) is None:
            log.info("No k-NN accuracy after training: the features are not finite")
            return
        told = [f"k-NN accuracy after: {self.knn['trained']:.3f} (before: {self.knn[self.begun_as]:.3f})"]
        if "trained" in self.linear:
            told.append(f"linear probe: {self.linear['trained']:.3f} (before: {self.linear[self.begun_as]:.3f})")
        log.info("; ".join(told))

    def _measure(self, name: str, model: SSLModule, data: SSLDataModule, device: torch.device) -> QuickProbe | None:
        measured = quick_probe(model.to(device).embed, data, device, samples=self.probe.samples)
        if measured is not None:
            self.knn[name] = measured.knn
            if measured.linear is not None:
                self.linear[name] = measured.linear
        return measured

    def _retrieval(self, model: SSLModule, data: SSLDataModule, device: torch.device) -> float | None:
        """Draw two views of some samples, the same ones each time, and see whether one finds the other."""
        shapes = model.view_policy.own_shapes(model.input_shape)
        if model.view_policy.num_views < 2 or shapes:
            return None
        found: list[list[torch.Tensor]] = [[], []]
        network = model.to(device).product
        generator = torch.Generator().manual_seed(model.seed % 2**63)
        with evaluating(network), torch.inference_mode():
            for batch in data.train_eval_dataloader(limit=RETRIEVED):
                x = batch[0] if isinstance(batch, list | tuple) else batch
                for views, view in zip(found, model.view_policy.draw(x, generator), strict=False):
                    views.append(network(view.to(device)).float().cpu())
        first, second = (torch.cat(views) for views in found)
        return retrieval(first, second) if bool(first.isfinite().all() and second.isfinite().all()) else None

    def results(self, seconds: float) -> dict[str, Any]:
        """Return what belongs into ``results.json``.

        Args:
            seconds: spent in fitting.
        """
        costs = {"guard": self.guard.seconds + self.divergence.seconds, "probe": self.probe.seconds}
        shares = {name: {"seconds": round(cost, 3), "share": round(cost / seconds, 4)} for name, cost in costs.items()}
        said: dict[str, Any] = {"guard": self.message, "diverged": self.divergence.lost, "held_out": self.held_out}
        ranks = [shot.rank["backbone"] for shot in self.guard.snapshots if "backbone" in shot.rank]
        said |= {"rank": [ranks[-1], self._rank_most] if ranks else None, "neighbours": self.neighbours}
        return {"knn": self.knn, "linear": self.linear, **said, "watching": shares}
