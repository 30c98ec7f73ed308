"""Runs that differ by their seed alone, as one row: the mean of their figures and how far they scatter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from ssl_registry._system.secrets import without_keys
from ssl_registry.workflows.report.facts import RunFacts

__all__ = ["SeedGroup", "over_seeds"]

# The seed, and options that change how a run is made and watched, and none of its figures.
WITHOUT_EFFECT = {
    *("seed", "workers", "cache", "report", "logger", "checkpoint_every", "guard", "knn"),
    *("probe_every", "probe_budget", "out", "resume", "trust"),
}
FIGURES = {"k-NN accuracy": "knn", "linear probe": "linear"}


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ by their seed alone.

    Args:
        name: their method, and the options in which it differs from other groups.
        runs: their names.
        cells: by figure, ``"91.2 ± 0.4 % (before: 40.1 %)"``.
    """

    name: str
    runs: tuple[str, ...]
    cells: dict[str, str]


def over_seeds(runs: Sequence[RunFacts]) -> list[SeedGroup]:
    """Group runs that differ by their seed alone.

    Args:
        runs: of one page.

    Returns:
        A group for each set of options, those of one run too; empty if no options have two seeds.
    """
    groups: dict[tuple[tuple[str, str], ...], list[RunFacts]] = defaultdict(list)
    for run in runs:
        of_effect = {name: _words(value) for name, value in run.options.items() if name not in WITHOUT_EFFECT}
        groups[tuple(sorted(of_effect.items()))].append(run)
    if all(len({run.settings.run.seed for run in group}) < 2 for group in groups.values()):
        return []
    options = [dict(key) for key in groups]
    names = dict.fromkeys(name for run in runs for name in run.options if name != "method")
    differing = [name for name in names if len({one.get(name, "None") for one in options}) > 1]
    return [
        SeedGroup(
            ", ".join([str(group[0].settings.method), *(f"{name} {one[name]}" for name in differing if name in one)]),
            tuple(run.name for run in group),
            _cells(group),
        )
        for one, group in zip(options, groups.values(), strict=True)
    ]


def _words(value: Any) -> str:
    # A report is passed on: keys in addresses stay in the run's own files.
    return without_keys(str(value))


def _cells(group: Sequence[RunFacts]) -> dict[str, str]:
    cells = {}
    for title, field in FIGURES.items():
        found: list[dict[str, float]] = [getattr(run.results, field) for run in group]
        trained = [one["trained"] for one in found if "trained" in one]
        before = [value for one in found if (value := one.get("start", one.get("untrained"))) is not None]
        if trained:
            cells[title] = _spread(trained) + (f" (before: {_spread(before)})" if before else "")
    return cells


def _spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation in per cent.

    >>> _spread([0.90, 0.92]), _spread([0.5])
    ('91.0 ± 1.4 %', '50.0 %')
    """
    deviation = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{deviation} %"
