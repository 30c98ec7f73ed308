"""What `accuracy.py` found, as a table and as a picture.

python benchmarks/accuracy_figures.py runs/bench/accuracy.json docs/accuracy.svg
"""

from __future__ import annotations

import json
import statistics
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

Run = dict[str, Any]  # method, who, seed, looks
LookedAt = dict[str, float]  # the fields of `accuracy_watch.Look`

COLOURS = {"ours": "#1f6feb", "lightly": "#d1692f"}
NAMES = {"byol": "BYOL", "simclr": "SimCLR"}
AXES = {"step": "steps", "seconds": "seconds of wall clock", "cpu_seconds": "seconds of CPU"}
HEAD = ("method", "who", "k-NN", "linear", "s", "s of CPU", "s until lightly's k-NN", "s of CPU until then")


def table(runs: list[Run]) -> str:
    """Write means over seeds, and when the mean curve reaches the k-NN accuracy that lightly's ends with."""
    lines = [" | ".join(HEAD), " | ".join(["---"] * 2 + ["--:"] * (len(HEAD) - 2))]
    for method in dict.fromkeys(run["method"] for run in runs):
        theirs = curves(runs, method, "lightly")
        for who in dict.fromkeys(run["who"] for run in runs if run["method"] == method):
            found = curves(runs, method, who)
            mean = mean_curve(found)
            goal = mean_curve(theirs)[-1]["knn"] if theirs else None
            lines.append(
                " | ".join(
                    [
                        NAMES.get(method, method),
                        who,
                        *(spread([looks[-1][key] for looks in found]) for key in ("knn", "linear")),
                        *(f"{mean[-1][clock]:.0f}" for clock in ("seconds", "cpu_seconds")),
                        *(until(mean, goal, clock) for clock in ("seconds", "cpu_seconds")),
                    ]
                )
            )
    return "\n".join(f"| {line} |" for line in lines)


def curves(runs: list[Run], method: str, who: str) -> list[list[LookedAt]]:
    return [run["looks"] for run in runs if (run["method"], run["who"]) == (method, who)]


def mean_curve(found: list[list[LookedAt]]) -> list[LookedAt]:
    """Average over seeds, look by look."""
    return [
        {key: statistics.mean(look[key] for look in looks) for key in looks[0]} for looks in zip(*found, strict=True)
    ]


def spread(values: list[float]) -> str:
    """Mean and deviation over seeds (n - 1), in per cent.

    >>> spread([0.5, 0.6])
    '55.0 ± 7.1'
    """
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{deviation}"


def until(looks: list[LookedAt], accuracy: float | None, clock: str) -> str:
    """Tell when an accuracy is reached first, on straight lines between the looks.

    >>> until([{"knn": 0.2, "s": 0.0}, {"knn": 0.6, "s": 10.0}], 0.4, "s")
    '5'
    """
    if accuracy is None:
        return ""
    for before, after in pairwise(looks):
        if after["knn"] >= accuracy:
            share = max(0.0, accuracy - before["knn"]) / max(after["knn"] - before["knn"], 1e-9)
            return f"{before[clock] + share * (after[clock] - before[clock]):.0f}"
    return "never"


def draw(runs: list[Run], path: Path) -> None:
    """Draw the k-NN accuracy against steps and time: thick the mean over seeds, thin each of them."""
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "font.size": 9})
    methods = list(dict.fromkeys(run["method"] for run in runs))
    size = (3.2 * len(AXES), 2.6 * len(methods))
    figure, rows = plt.subplots(
        len(methods), len(AXES), figsize=size, sharey="row", squeeze=False, layout="constrained"
    )
    for method, row in zip(methods, rows, strict=True):
        for (clock, words), axes in zip(AXES.items(), row, strict=True):
            for who, colour in COLOURS.items():
                if found := curves(runs, method, who):
                    for looks in found:
                        axes.plot(*_points(looks, clock), color=colour, alpha=0.3, linewidth=0.8)
                    axes.plot(*_points(mean_curve(found), clock), color=colour, label=who, marker="o", markersize=3)
            axes.set(xlabel=words)
            axes.grid(alpha=0.3)
        row[0].set(ylabel=f"{NAMES.get(method, method)}: k-NN, %")
        row[0].legend(loc="lower right")
    figure.savefig(path)


def _points(looks: list[LookedAt], clock: str) -> tuple[list[float], list[float]]:
    return [look[clock] for look in looks], [100 * look["knn"] for look in looks]


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[1]).read_text())["runs"]
    print(table(found))
    if find_spec("matplotlib"):
        draw(found, Path(sys.argv[2]))
    else:
        print("no picture: matplotlib is not installed; pip install 'ssl-registry[bench]'")
