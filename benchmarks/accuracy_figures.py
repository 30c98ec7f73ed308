"""What `accuracy.py` found, as a table and as a picture.

python benchmarks/accuracy_figures.py runs/bench/accuracy.json docs/accuracy.webp
"""

from __future__ import annotations

import json
import statistics
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from accuracy_contenders import CONTENDERS

Run = dict[str, Any]  # method, who, seed, looks
LookedAt = dict[str, float]  # the fields of `accuracy_watch.Look`

COLOURS = {"ours": "#1f6feb", "lightly": "#d1692f"}
AXES = {"step": "steps", "seconds": "seconds of wall clock", "cpu_seconds": "seconds of CPU"}
CLOCKS = ("seconds", "cpu_seconds")
HEAD = ("method", "who", "k-NN", "linear", "s (of CPU)", "until lightly's k-NN", "until lightly's linear")


def table(runs: list[Run]) -> str:
    """Write means over seeds, and when the mean curve reaches the accuracies that lightly's ends with."""
    lines = [" | ".join(HEAD), " | ".join(["---"] * 2 + ["--:"] * (len(HEAD) - 2))]
    for method in dict.fromkeys(run["method"] for run in runs):
        theirs = curves(runs, method, "lightly")
        for who in dict.fromkeys(run["who"] for run in runs if run["method"] == method):
            found = curves(runs, method, who)
            mean = mean_curve(found)
            goals = mean_curve(theirs)[-1] if theirs else {}
            lines.append(
                " | ".join(
                    [
                        CONTENDERS[method].title,
                        who,
                        *(spread([looks[-1][key] for looks in found]) for key in ("knn", "linear")),
                        "{:.0f} ({:.0f})".format(*(mean[-1][clock] for clock in CLOCKS)),
                        *(until(mean, key, goals[key]) if goals else "" for key in ("knn", "linear")),
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


def until(looks: list[LookedAt], key: str, accuracy: float) -> str:
    """Tell when an accuracy is reached first, by both clocks and on straight lines between the looks.

    >>> first = {"knn": 0.2, "seconds": 0.0, "cpu_seconds": 0.0}
    >>> until([first, {"knn": 0.6, "seconds": 10.0, "cpu_seconds": 8.0}], "knn", 0.3)
    '2 (2)'
    """
    for before, after in pairwise(looks):
        if after[key] >= accuracy:
            share = max(0.0, accuracy - before[key]) / max(after[key] - before[key], 1e-9)
            return "{:.0f} ({:.0f})".format(
                *(before[clock] + share * (after[clock] - before[clock]) for clock in CLOCKS)
            )
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
            for who, color in COLOURS.items():
                if found := curves(runs, method, who):
                    for looks in found:
                        axes.plot(*_points(looks, clock), color=color, alpha=0.3, linewidth=0.8)
                    axes.plot(*_points(mean_curve(found), clock), color=color, label=who, marker="o", markersize=3)
            axes.set(xlabel=words)
            axes.grid(alpha=0.3)
        row[0].set(ylabel=f"{CONTENDERS[method].title}: k-NN, %")
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
