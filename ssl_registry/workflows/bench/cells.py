"""A cell: one method on one data set with one seed, trained and evaluated by the one protocol of all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError

from ssl_registry._system.atomic import write_beside
from ssl_registry._system.memory import peak_memory
from ssl_registry._system.plain import first_problem
from ssl_registry._system.small_files import read_json
from ssl_registry.errors import ConfigError, FeaturesNotFiniteError
from ssl_registry.runs.folder import Run
from ssl_registry.training.callbacks import BestEpoch
from ssl_registry.workflows.evaluate.evaluate import evaluate
from ssl_registry.workflows.evaluate.results import EvaluateResult
from ssl_registry.workflows.train import train

__all__ = ["Cell", "run_cell"]

T = TypeVar("T")

# Written when a cell begins, and when it is finished.
INTENT, RECORD = "bench-settings.json", "bench.json"
# So many times the best epoch is looked for, and at its end.
LOOKS = 10


@dataclass(frozen=True)
class Cell:
    """What came of one training.

    Args:
        method, data, seed: which.
        settings: the arguments of `train`.
        accuracy: in [0, 1] on the test part, by protocol (such as ``knn``) within ``untrained``, ``last`` (epoch) and
            ``best`` (epoch by a part of the training samples).
        best_epoch: that epoch, counted from 1.
        steps: optimizer steps.
        seconds: of training alone; None where the run was resumed.
        diverged: whether its weights or features were not finite at the end; there are no figures then.
        memory_mib: peak, of the device where it is CUDA, else of the process since it began.
    """

    method: str
    data: str
    seed: int
    settings: dict[str, Any]
    accuracy: dict[str, dict[str, float]]
    best_epoch: int
    steps: int
    seconds: float | None
    memory_mib: float
    diverged: bool = False


def run_cell(
    folder: Path,
    method: str,
    arguments: Mapping[str, Any],
    *,
    protocols: Sequence[str] = ("knn", "linear"),
) -> tuple[Cell, bool]:
    """Train and evaluate, or read what was found before; a run that was stopped is gone on with.

    Args:
        folder: of the run.
        method: its name.
        arguments: of `train`; ``out`` and ``resume`` are the cell's affair.
        protocols: see `ssl_registry.evaluate`.

    Returns:
        The cell, and whether it was finished already.

    Raises:
        ConfigError: if the folder holds a run with other settings, or damaged files.
    """
    plain = {key: value for key, value in arguments.items() if key not in ("origins", "out", "resume", "trust")}
    settings = json.loads(json.dumps(plain, default=str))
    record, intent = folder / RECORD, folder / INTENT
    run = Run(folder)
    begun = run.has_begun
    if intent.is_file():
        before = _read(intent, dict[str, Any])
        if before != settings:
            changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
            raise ConfigError(f"{folder} was made with another {', '.join(changed)}; give another --out")
    if record.is_file():
        return _read(record, Cell), True
    write_beside(intent, json.dumps(settings, indent=2))
    best = BestEpoch(run.checkpoints / "best.ckpt", every=max(1, (arguments.get("epochs") or 1) // LOOKS))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    trainer = {**arguments.get("trainer", {}), "callbacks": [best]}
    fixed = {"out": folder, "resume": begun, "knn": False, "report": False}
    done = train(method, **{**arguments, **fixed, "trainer": trainer})
    accuracy: dict[str, dict[str, float]] = {"last": {}}
    diverged = done.diverged
    if not diverged:
        try:
            accuracy = _accuracy(folder, best, protocols)
        except FeaturesNotFiniteError:  # of weights that are finite still
            diverged = True
    cell = Cell(
        method=method,
        data=str(arguments["data"]),
        seed=int(arguments["seed"]),
        settings=settings,
        accuracy=accuracy,
        best_epoch=0 if diverged else best.epoch,
        steps=done.steps,
        seconds=None if begun else round(done.seconds - best.seconds, 1),
        memory_mib=round(peak_memory() / 2**20, 1),
        diverged=diverged,
    )
    write_beside(record, json.dumps(asdict(cell), indent=2))
    return cell, False


def _read(path: Path, kind: type[T]) -> T:
    """Read what a cell wrote, by its type.

    Raises:
        ConfigError: if it is damaged.
    """
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        raise ConfigError(f"{path} is damaged: {first_problem(error)}; remove {path.parent} to begin again") from None


def _accuracy(run: Path, best: BestEpoch, protocols: Sequence[str]) -> dict[str, dict[str, float]]:
    # Trusted: `train` has just written the run, from arguments that the user gave.
    last = evaluate(run, protocols=protocols, seeds=1, trust=True)
    figures = {"untrained": _figures(last, "untrained"), "last": _figures(last, "trained")}
    if best.path.is_file():
        figures["best"] = _figures(evaluate(best.path, protocols=protocols, seeds=1, trust=True), "trained")
    return figures


def _figures(result: EvaluateResult, features: str) -> dict[str, float]:
    return {row.protocol: row.metrics["accuracy"].mean for row in result.rows if row.features == features}
