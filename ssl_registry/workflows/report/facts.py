"""What a run's folder tells by itself, without its network or its data."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssl_registry._system.meant import what_was_meant
from ssl_registry._system.small_files import read_text
from ssl_registry._system.yaml_files import flatten
from ssl_registry.errors import ConfigError
from ssl_registry.runs.contents import RunResults, RunSettings
from ssl_registry.runs.folder import Run
from ssl_registry.workflows.evaluate.results import EVALUATIONS

__all__ = ["RunFacts", "Series", "named_apart", "read_facts"]

# More points than a screen shows are averaged in groups.
POINTS = 400
# Of a table of values: half a million logged steps.
MOST_BYTES = 2**26

Series = list[tuple[float, float]]


@dataclass(frozen=True)
class RunFacts:
    """A run, as it lies on the disk.

    Args:
        folder: of the run.
        settings: of ``config.yaml``.
        origins: where each setting came from, by name; empty for a run that did not record it.
        results: of ``results.json``; empty while the run has not ended.
        curves: (optimizer step, value) by the name it was logged under.
        evaluated: data and verdict of the last evaluation by labels; None where there was none.
        label: what it is called beside others; empty for the folder's name.
    """

    folder: Path
    settings: RunSettings
    origins: dict[str, str]
    results: RunResults
    curves: dict[str, Series]
    evaluated: tuple[str, str] | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """The folder's name, or as much of its path as tells it from other runs."""
        return self.label or self.folder.resolve().name

    @property
    def options(self) -> dict[str, Any]:
        """Every option, with dotted names for what is nested."""
        return dict(flatten(self.settings.values))


def read_facts(folder: Path) -> RunFacts:
    """Read a run's folder.

    Raises:
        ConfigError: if it is not a run's, or a file in it is damaged.
    """
    run = Run(folder)
    if not run.settings.exists():
        what = "has no config.yaml" if folder.is_dir() else "is no folder"
        raise ConfigError(
            f"{folder} {what}; give the folder that `ssl-registry train` named at its end{what_was_meant(folder)}"
        )
    return RunFacts(
        folder,
        run.read_settings(),
        run.provenance(),
        run.read_results(),
        _read_curves(folder / "metrics"),
        _last_evaluation(folder / EVALUATIONS),
    )


def named_apart(runs: Sequence[RunFacts]) -> list[RunFacts]:
    """Return runs with names of which no two are alike: the ends of their paths, such as ``simclr/seed-0``."""
    paths = [run.folder.resolve().parts for run in runs]
    longest = max(map(len, paths), default=1)
    for length in range(1, longest + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(set(paths)):
            break
    return [replace(run, label=name) for run, name in zip(runs, names, strict=True)]


def _last_evaluation(path: Path) -> tuple[str, str] | None:
    """Return data and verdict of the last evaluation that compared features by labels."""
    if not path.is_file():
        return None
    for line in reversed(read_text(path, most=MOST_BYTES).splitlines()):
        try:
            found = json.loads(line)
            protocols = {row["protocol"].partition(" ")[0] for row in found["rows"]}
            if found["verdict"] and protocols & {"knn", "linear", "sgd", "adam"}:
                return str(found["data"]), str(found["verdict"])
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(f"{path} is damaged: {line[:40]!r} is no evaluation") from None
    return None


def _read_curves(folder: Path) -> dict[str, Series]:
    """Merge the tables of all sittings of a run: a resumed one repeats the steps behind its checkpoint."""
    values: dict[str, dict[int, float]] = defaultdict(dict)
    # A sitting has a number in its folder's name, and the later one wins.
    for path in sorted(folder.glob("*/metrics.csv"), key=lambda path: (len(path.parent.name), path.parent.name)):
        text = read_text(path, most=MOST_BYTES, newline="")
        try:
            for row in csv.DictReader(io.StringIO(text, newline="")):
                step = _number(row.get("step"))
                for name, cell in row.items():
                    value = _number(cell)
                    if step is not None and value is not None and name not in (None, "step", "epoch"):
                        values[name][int(step)] = value
        except csv.Error as error:
            raise ConfigError(f"{path} is damaged: {error}") from None
    return {name: _thinned(sorted(points.items())) for name, points in values.items()}


def _number(cell: Any) -> float | None:
    """Return the number in a cell; None for an empty one, a NaN, or a row that was cut short or is too long."""
    try:
        value = float(cell or "nan")
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _thinned(points: list[tuple[int, float]]) -> Series:
    size = math.ceil(len(points) / POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)] if size else []
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
