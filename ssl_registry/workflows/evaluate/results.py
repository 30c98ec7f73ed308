"""What an evaluation says: figures in rows, and the lines they become in a run's folder."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from ssl_registry._system.atomic import whole_file
from ssl_registry._system.locking import lock_file
from ssl_registry.data.source import Task
from ssl_registry.runs.folder import Run

__all__ = ["EVALUATIONS", "EvaluateResult", "EvaluationRow", "Score", "record_evaluation"]

# Rows of all evaluations of a run, one JSON object a line, the oldest first.
EVALUATIONS = "evaluations.jsonl"


@dataclass(frozen=True)
class Score:
    """A metric's mean over seeds, and its standard deviation: None where nothing was drawn."""

    mean: float
    std: float | None = None

    @classmethod
    def over(cls, values: Sequence[float]) -> Score:
        """Return mean and standard deviation of one value a seed."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class EvaluationRow:
    """What one protocol says of one set of features.

    Args:
        features: ``trained``, ``untrained``, ``start`` (what training began with) or ``supervised``: the weights of the
            backbone; or ``raw``, the input itself, of segmentation ``pixels``.
        protocol: ``knn``, ``linear``, ``sgd``, ``adam``, ``knn-segmentation``, ``linear-segmentation``, or a
            fine-tuning.
        metrics: by name.
        per_class: intersection over union by class, of segmentation.
    """

    features: str
    protocol: str
    metrics: dict[str, Score]
    per_class: dict[str, Score] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluateResult:
    """An evaluation.

    Args:
        checkpoint: the file that was evaluated.
        data: the source's name.
        train, test: samples in its parts.
        task: what the targets are; ``segmentation`` for masks.
        rows: one a protocol and set of features.
        seeds: of the probes.
        notes: what was left out, and why, in words.
        verdict: what the rows say, in a sentence or two; empty where there is nothing to compare.
        saved: the file in the run's folder that the rows were added to; None without a run.
    """

    checkpoint: Path
    data: str
    train: int
    test: int
    task: Task | Literal["segmentation"]
    rows: tuple[EvaluationRow, ...]
    seeds: int
    notes: tuple[str, ...] = ()
    verdict: str = ""
    saved: Path | None = field(default=None, compare=False)

    def figure(self, features: str, protocol: str, metric: str) -> float:
        """Return one mean, such as ``result.figure("trained", "linear", "accuracy")``.

        Raises:
            KeyError: if there is none.
        """
        found = {(row.features, row.protocol): row.metrics for row in self.rows}
        return found[features, protocol][metric].mean

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        paths = {"checkpoint": str(self.checkpoint), "saved": None if self.saved is None else str(self.saved)}
        return asdict(self) | paths


def record_evaluation(result: EvaluateResult, run: Run | None) -> EvaluateResult:
    """Add the result to the run's ``evaluations.jsonl``, whole or not at all, one process after the other."""
    if run is None:
        return result
    path = run.folder / EVALUATIONS
    line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **result.to_dict()})
    # Not the run's own lock, which a training holds for as long as it lasts.
    with lock_file(run.folder / ".evaluations.lock"):
        before = path.read_bytes() if path.is_file() else b""
        with whole_file(path) as file:
            file.write(before + b"\n" * (not before.endswith(b"\n") and bool(before)) + f"{line}\n".encode())
    return replace(result, saved=path)
