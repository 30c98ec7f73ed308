"""Write what `accuracy.py` found of all methods into a page, between two markers: one table a file.

python benchmarks/accuracy_table.py docs/results.md docs/accuracy.json
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from accuracy_contenders import CONTENDERS
from accuracy_figures import Run, curves, mean_curve, spread

BEGIN, END = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"
KEYS = ("knn", "linear")


def section(content: dict[str, Any]) -> str:
    """Return a file's table and what follows from it."""
    runs, options = content["runs"], content["options"]
    steps = [look["step"] for look in runs[0]["looks"][1:]]
    columns = [f"{name} at {step}" for name in ("k-NN", "linear") for step in steps]
    head = ["method", "who", "optimizer", *columns, "s of CPU", "seeds"]
    lines = [" | ".join(head), " | ".join(["---"] * 3 + ["--:"] * (len(head) - 3))]
    cells = [(name, who) for name in CONTENDERS for who in ("ours", "lightly")]
    found = {cell: [run for run in runs if (run["method"], run["who"]) == cell] for cell in cells}
    lines += [" | ".join(row(*cell, found[cell])) for cell in cells if found[cell]]
    lines += [" | ".join(line) for line in baselines(content, len(steps))]
    said = [
        f"{options['steps']} steps of {options['batch']}; per cent, mean ± deviation over seeds. {content['machine']}.",
        "\n".join(f"| {line} |" for line in lines),
        *shortfalls(content),
    ]
    return "\n\n".join(said)


def row(name: str, who: str, found: list[Run]) -> list[str]:
    """Return the cells of one contender."""
    settings = found[0]["settings"]
    optimizer = {"momentum": "SGD"}.get(settings["optimizer"], "AdamW")
    looks = [run["looks"] for run in found]
    figures = [spread([each[at][key] for each in looks]) for key in KEYS for at in range(1, len(looks[0]))]
    seconds = mean_curve(looks)[-1]["cpu_seconds"]
    return [CONTENDERS[name].title, who, optimizer, *figures, f"{seconds:.0f}", str(len(found))]


def baselines(content: dict[str, Any], columns: int) -> list[list[str]]:
    """Return rows of what no training made: the pixels, and the backbone before its first step."""
    untrained = {run["seed"]: run["looks"][0] for run in content["runs"] if run["who"] == "ours"}
    rows = {
        "raw pixels": [content["raw"]],
        "untrained backbone": list(untrained.values()),
        "the same as timm builds it, residual branches at zero": content["closed"][: len(untrained)],
    }
    blank = [""] * (columns - 1)
    lines = []
    for name, looks in rows.items():
        figures = [cell for key in KEYS for cell in (*blank, spread([look[key] for look in looks]))]
        lines.append([name, "", "", *figures, "", str(len(looks))])
    return lines


def shortfalls(content: dict[str, Any]) -> list[str]:
    """Say which of ours lies below lightly's by more than the deviation over seeds, and which below no training.

    Where only one seed is there, there is no deviation, and nothing is said of lightly's.
    """
    runs = content["runs"]
    behind, useless = [], []
    base = {key: statistics.mean(look[key] for look in content["closed"]) for key in KEYS}
    for name in CONTENDERS:
        ours, theirs = (curves(runs, name, who) for who in ("ours", "lightly"))
        for key, words in zip(KEYS, ("k-NN", "linear"), strict=True):
            a, b = ([looks[-1][key] for looks in found] for found in (ours, theirs))
            if a and statistics.mean(a) < max(base[key], statistics.mean(looks[0][key] for looks in ours)):
                useless.append(f"{CONTENDERS[name].title} ({words})")
            if min(len(a), len(b)) > 1:
                gap = statistics.mean(b) - statistics.mean(a)
                if gap > max(statistics.stdev(a), statistics.stdev(b)):
                    behind.append(f"{CONTENDERS[name].title} ({words}, {100 * gap:.1f})")
    return [
        f"Below the untrained backbone: {', '.join(useless) or 'none'}.",
        f"Below lightly's by more than the larger deviation: {', '.join(behind) or 'none'}.",
    ]


def main(page: Path, files: list[Path]) -> None:
    """Replace what lies between the markers."""
    before, found, rest = page.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise SystemExit(f"{page} has no lines {BEGIN} and {END}")
    figures = "\n\n".join(section(json.loads(file.read_text())) for file in files)
    page.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
