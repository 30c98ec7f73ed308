"""A cell: one method on one data set with one seed, trained and evaluated by the one protocol of all."""

from __future__ import annotations

import json
import time
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
from ssl_registry.measures.few_labels import choose_labeled, title_of
from ssl_registry.runs.folder import Run
from ssl_registry.runs.opened import open_run
from ssl_registry.training.callbacks import BestEpoch
from ssl_registry.workflows.evaluate.evaluate import evaluate
from ssl_registry.workflows.evaluate.results import EvaluateResult
from ssl_registry.workflows.finetune.few_labels import read_labels
from ssl_registry.workflows.finetune.run import fit_classifier
from ssl_registry.workflows.train import train

__all__ = ["SUPERVISED", "Cell", "find_cell", "run_cell", "run_supervised"]

T = TypeVar("T")

# Written when a cell begins, and when it is finished.
INTENT, RECORD = "bench-settings.json", "bench.json"
# In place of a method: the suite's network, trained on labels from random weights.
SUPERVISED = "supervised"
BATCH = 128  # of that training
# What a cell's samples and network are made of.
NETWORK = (
    "data",
    "max_samples",
    "image_size",
    "modality",
    "standardize",
    "backbone",
    "backbone_kwargs",
    "low_resolution",
)
# So many times the best epoch is looked for, and at its end.
LOOKS = 10


@dataclass(frozen=True)
class Cell:
    """What came of one training.

    Args:
        method, data, seed: which.
        settings: the arguments of `train`.
        accuracy: in [0, 1] on the test part, by protocol (such as ``knn`` or ``linear 10 %``) within ``raw`` (the input
            itself), ``untrained``, ``last`` (epoch) and ``best`` (epoch by a part of the training samples).
        best_epoch: that epoch, counted from 1.
        steps: optimizer steps.
        seconds: of training alone, of a supervised one with the last number of labels; None where the run was resumed.
        diverged: whether its weights or features were not finite at the end; there are no figures then.
        memory_mib: peak, of the device where it is CUDA, else of the process since it began.
        suite: that it belongs to.
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
    suite: str = ""


def run_cell(
    folder: Path,
    method: str,
    arguments: Mapping[str, Any],
    *,
    protocols: Sequence[str] = ("knn", "linear"),
    labels: Sequence[float] = (1.0,),
    best: bool = True,
    suite: str = "",
) -> tuple[Cell, bool]:
    """Train and evaluate, or read what was found before; a run that was stopped is gone on with.

    Args:
        folder: of the run.
        method: its name.
        arguments: of `train`; ``out`` and ``resume`` are the cell's affair.
        protocols, labels: see `ssl_registry.evaluate`.
        best: whether the best epoch is looked for, too.
        suite: for the record.

    Returns:
        The cell, and whether it was finished already.

    Raises:
        ConfigError: if the folder holds a run with other settings, or damaged files.
    """
    plain = {key: value for key, value in arguments.items() if key not in ("origins", "out", "resume", "trust")}
    # A bar is drawn or not, by one process or many: the figures are the same.
    told = {key: value for key, value in plain.get("trainer", {}).items() if key != "enable_progress_bar"}
    settings = json.loads(json.dumps({**plain, "trainer": told}, default=str))
    run = Run(folder)
    begun = run.has_begun
    if (found := _before(folder, settings)) is not None:
        return found, True
    keeper = BestEpoch(run.checkpoints / "best.ckpt", every=max(1, (arguments.get("epochs") or 1) // LOOKS))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    trainer = {**arguments.get("trainer", {}), "callbacks": [keeper] if best else []}
    fixed = {"out": folder, "resume": begun, "knn": False, "report": False}
    done = train(method, **{**arguments, **fixed, "trainer": trainer})
    accuracy: dict[str, dict[str, float]] = {"last": {}}
    diverged = done.diverged
    if not diverged:
        try:
            accuracy = _accuracy(folder, keeper, protocols, labels)
        except FeaturesNotFiniteError:  # of weights that are finite still
            diverged = True
    cell = Cell(
        method=method,
        data=str(arguments["data"]),
        seed=int(arguments["seed"]),
        settings=settings,
        accuracy=accuracy,
        best_epoch=0 if diverged else keeper.epoch,
        steps=done.steps,
        seconds=None if begun else round(done.seconds - keeper.seconds, 1),
        memory_mib=round(peak_memory() / 2**20, 1),
        diverged=diverged,
        suite=suite,
    )
    write_beside(folder / RECORD, json.dumps(asdict(cell), indent=2))
    return cell, False


def run_supervised(
    folder: Path, of: Path, *, labels: Sequence[float], seed: int, epochs: int, suite: str = ""
) -> tuple[Cell, bool]:
    """Train the network of a finished cell on labels, from its random weights; or read what was found before.

    Args:
        folder: of the record.
        of: the folder of a cell of the same suite and seed: its samples and its network.
        labels: shares of the labels, and numbers of them a class, one after the other.
        seed: of choice and order.
        epochs: passes over all labels; few labels have as many steps, in smaller batches.
        suite: for the record.

    Returns:
        The cell, with the protocols ``classifier 10 %`` and its like, and whether it was finished already.

    Raises:
        ConfigError: if that cell has not begun, its network is a module that only Python knows, or the folder holds a
            record of other settings.
    """
    if not (of / INTENT).is_file():
        raise ConfigError(f"{of} holds no cell, whose network would be trained on labels")
    made = _read(of / INTENT, dict[str, Any])  # whichever method of the suite was trained first
    network_of = {key: made.get(key) for key in NETWORK}
    settings = {"network": network_of, "labels": list(labels), "seed": seed, "epochs": epochs}
    if (found := _before(folder, settings)) is not None:
        return found, True
    opened = open_run(of, trust=True)  # this process, or one like it, has just written it
    network, source = opened.untrained(), opened.open_data()
    if network is None:
        raise ConfigError(f"{of} was trained on a module that only its own process can build: no supervised row")
    targets = read_labels(source)
    figures: dict[str, float] = {}
    steps, seconds = 0, 0.0
    for amount in labels:
        chosen = choose_labeled(targets, amount, seed)
        began = time.monotonic()
        model, metrics, _ = fit_classifier(
            "untrained",
            network,
            source,
            chosen,
            seed=seed,
            batch_size=BATCH,
            workers=None,
            options={"layers": None, "learning_rate": 1e-3, "layer_decay": 1.0, "weight_decay": 0.05},
            # As many steps with few labels as with all.
            trainer={"max_epochs": -1, "max_steps": epochs * max(1, len(targets) // BATCH)},
        )
        steps, seconds = int(model.global_step), time.monotonic() - began
        figures[title_of("classifier", amount)] = metrics["accuracy"]
    cell = Cell(
        method=SUPERVISED,
        data=str(opened.data),
        seed=seed,
        settings=settings,
        accuracy={"last": figures},
        best_epoch=0,
        steps=steps,
        seconds=round(seconds, 1),
        memory_mib=round(peak_memory() / 2**20, 1),
        suite=suite,
    )
    write_beside(folder / RECORD, json.dumps(asdict(cell), indent=2))
    return cell, False


def find_cell(folder: Path) -> Cell | None:
    """Return what was found in a folder, whatever its settings; None where nothing is finished.

    Raises:
        ConfigError: if the record is damaged.
    """
    record = folder / RECORD
    return _read(record, Cell) if record.is_file() else None


def _before(folder: Path, settings: Mapping[str, Any]) -> Cell | None:
    """Return what was found with the same settings before; what was begun with others is refused."""
    intent = folder / INTENT
    if intent.is_file():
        before = _read(intent, dict[str, Any])
        if before != settings:
            changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
            raise ConfigError(f"{folder} was made with another {', '.join(changed)}; give another --out")
    if (found := find_cell(folder)) is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    write_beside(intent, json.dumps(settings, indent=2))
    return None


def _read(path: Path, kind: type[T]) -> T:
    """Read what a cell wrote, by its type.

    Raises:
        ConfigError: if it is damaged.
    """
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        raise ConfigError(f"{path} is damaged: {first_problem(error)}; remove {path.parent} to begin again") from None


def _accuracy(
    run: Path, best: BestEpoch, protocols: Sequence[str], labels: Sequence[float]
) -> dict[str, dict[str, float]]:
    # Trusted: `train` has just written the run, from arguments that the user gave.
    arguments: dict[str, Any] = {"protocols": protocols, "labels": labels, "seeds": 1, "trust": True}
    last = evaluate(run, **arguments)
    figures = {
        "raw": _figures(last, "raw"),
        "untrained": _figures(last, "untrained"),
        "last": _figures(last, "trained"),
    }
    if best.path.is_file():
        figures["best"] = _figures(evaluate(best.path, **arguments), "trained")
    return figures


def _figures(result: EvaluateResult, features: str) -> dict[str, float]:
    return {row.protocol: row.metrics["accuracy"].mean for row in result.rows if row.features == features}
