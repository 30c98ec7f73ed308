"""What a run's folder tells by itself, without its network or its data."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ssl_registry._system.yaml_files import flatten
from ssl_registry.errors import ConfigError

__all__ = ["RunFacts", "Series", "read_facts"]

# A curve on a screen has no use for more points; each stands for the mean of its neighbours.
POINTS = 400

Series = list[tuple[float, float]]


@dataclass(frozen=True)
class RunFacts:
    """A run, as it lies on the disk.

    Args:
        folder: of the run.
        settings: of ``config.yaml``, with dotted names for what is nested.
        origins: where each setting came from, by name; empty for a run that did not record it.
        results: of ``results.json``; empty while the run has not ended.
        curves: (optimizer step, value) by the name it was logged under.
    """

    folder: Path
    settings: dict[str, Any]
    origins: dict[str, str]
    results: dict[str, Any]
    curves: dict[str, Series]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name


def read_facts(folder: Path) -> RunFacts:
    """Read a run's folder.

    Raises:
        ConfigError: if it is not a run's, or a file in it is damaged.
    """
    config = folder / "config.yaml"
    if not config.is_file():
        what = "has no config.yaml" if folder.is_dir() else "is no folder"
        raise ConfigError(f"{folder} {what}; give the folder that `ssl-registry train` named at its end")
    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config} is damaged: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{config} is damaged: it holds no settings by name")
    return RunFacts(
        folder,
        dict(flatten(settings)),
        _read_json(folder / "origins.json"),
        _read_json(folder / "results.json"),
        _read_curves(folder / "metrics"),
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is damaged: it holds no values by name")
    return value


def _read_curves(folder: Path) -> dict[str, Series]:
    """Merge the tables of all sittings of a run: a resumed one repeats the steps behind its checkpoint."""
    values: dict[str, dict[int, float]] = defaultdict(dict)
    # A sitting has a number in its folder's name, and the later one wins.
    for path in sorted(folder.glob("*/metrics.csv"), key=lambda path: (len(path.parent.name), path.parent.name)):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                step = _number(row.get("step"))
                for name, text in row.items():
                    value = _number(text)
                    if step is not None and value is not None and name not in ("step", "epoch"):
                        values[name][int(step)] = value
    return {name: _thinned(sorted(points.items())) for name, points in values.items()}


def _number(text: str | None) -> float | None:
    """Return the number in a cell; None for an empty one, a NaN, or a row that was cut short."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _thinned(points: list[tuple[int, float]]) -> Series:
    size = math.ceil(len(points) / POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)] if size else []
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
