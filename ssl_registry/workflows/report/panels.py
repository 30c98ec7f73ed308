"""Which curves are drawn together, and under which title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_registry.workflows.report.facts import RunFacts, Series

__all__ = ["Line", "Panel", "draw_panels"]

# Title, the logged names with their labels, and what one should know. The first name is drawn as a whole line.
PANELS = (
    ("Loss", {"train_loss": "loss", "val_loss": "held out", "trivial_loss": "trivial value"}, "by optimizer step"),
    ("Accuracy", {"knn_accuracy": "k-NN", "linear_accuracy": "linear probe"}, "on held-out samples, frozen backbone"),
    ("Effective rank", {"rank": "rank"}, "directions that the features of a batch use (RankMe)"),
    ("Spread", {"spread": "spread"}, "of normalised features: 0 is collapse, 1 is even"),
    ("Learning rate", {"learning_rate": "learning rate"}, "by optimizer step"),
    ("Momentum", {"momentum": "momentum"}, "of the target's moving average"),
    ("Throughput", {"samples_per_second": "samples/s"}, "samples a second, all devices together"),
)


@dataclass(frozen=True)
class Line:
    """One curve: its label, the number of its colour, whether it is dashed, and its points."""

    label: str
    color: int
    dashed: bool
    points: Series


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes."""

    title: str
    hint: str
    lines: list[Line]


def draw_panels(runs: Sequence[RunFacts]) -> list[Panel]:
    """Return the panels that have something to show; several runs share them, a colour each."""
    panels = []
    for title, names, hint in PANELS:
        lines = []
        for index, run in enumerate(runs):
            for number, (name, label) in enumerate(names.items()):
                points = _with_ends(run, name)
                if points:
                    alone = len(runs) == 1
                    text = label if alone else f"{run.name}: {label}" if len(names) > 1 else run.name
                    lines.append(Line(text, (number if alone else index) % 8, number > 0, points))
        if lines:
            panels.append(Panel(title, hint, lines))
    return panels


def _with_ends(run: RunFacts, name: str) -> Series:
    """Add the accuracies that were measured before and after training to the curve of those in between."""
    points = run.curves.get(name, [])
    measured = {"knn_accuracy": run.results.knn, "linear_accuracy": run.results.linear}.get(name, {})
    begun = measured.get("start", measured.get("untrained"))
    if begun is not None:
        points = [(0.0, begun), *points]
    if "trained" in measured:
        end = float(run.results.steps or 0)
        points = [*(point for point in points if point[0] < end - 1), (end, measured["trained"])]
    return points
