"""Write what `ssl-registry bench catalogue` found into a page, between two markers: one table a suite.

The rows alone are kept as docs/catalogue.json, from which the page can be written again, alone or with what was run
since, or elsewhere: other seeds are pooled with those that are there; of rows that share one the later, or longer.

    python benchmarks/catalogue_page.py docs/results.md runs/bench-catalogue/table.json --keep docs/catalogue.json
    python benchmarks/catalogue_page.py docs/results.md docs/catalogue.json
    python benchmarks/catalogue_page.py docs/results.md docs/catalogue.json more.json --keep docs/catalogue.json
"""

from __future__ import annotations

import argparse
import json
import math
from datetime import date
from pathlib import Path
from typing import Any

from harness import machine

Row = dict[str, Any]
BEGIN, END = "<!-- catalogue: begin -->", "<!-- catalogue: end -->"
RAW, SUPERVISED, BOOSTING = "raw input", "supervised", "raw input, gradient boosting"
BY = {SUPERVISED: "classifier", BOOSTING: "boosting"}  # in place of the linear probe
LABELS = {" 1 %": "1 %", " 10 %": "10 %", "": "all"}
KEY = ("suite", "data", "method", "protocol")
HEAD = ["method", "k-NN", "untrained", *(f"linear, {words}" for words in LABELS.values()), "untrained", "s", "MiB"]


def section(content: dict[str, Any]) -> str:
    """Return the tables, how they were made, and who lies below its untrained backbone."""
    rows: list[Row] = content["rows"]
    parts = []
    for suite in dict.fromkeys(row["suite"] for row in rows):
        members = [row for row in rows if row["suite"] == suite]
        seeds = max(len(row["seeds"]) for row in members)
        parts.append(f"### `{suite}`, {seeds} seed{'s' * (seeds > 1)}\n\n{table(members)}")
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items() if "plugin" not in name)
    made = f"Made by `{content['command']}` on {content['date']}: {content['machine']}; {versions}."
    below = "; ".join(f"{suite}: {', '.join(names)}" for suite, names in below_untrained(rows).items())
    return "\n\n".join([*parts, f"Below its untrained backbone, by the means: {below or 'none'}.", made])


def table(rows: list[Row]) -> str:
    """Return one suite's table: the raw input, the methods by the linear probe, supervised training."""
    # Of tables; a row of the raw input by another protocol.
    rows = [row | {"method": BOOSTING} if row["protocol"].startswith("boosting") else row for row in rows]
    names = list(dict.fromkeys(row["method"] for row in rows))
    methods = sorted((n for n in names if n not in (RAW, *BY)), key=lambda n: -mean(rows, n, "linear", "last"))
    order = [name for name in (RAW, BOOSTING, *methods, SUPERVISED) if name in names]
    lines = [" | ".join(HEAD), " | ".join(["---"] + ["--:"] * (len(HEAD) - 1))]
    lines += [" | ".join(cells(rows, name)) for name in order]
    return "\n".join(f"| {line} |" for line in lines)


def cells(rows: list[Row], name: str) -> list[str]:
    """Return the words of one method."""
    own = [row for row in rows if row["method"] == name]
    found = {row["protocol"]: row for row in own}
    by = BY.get(name, "linear")
    title = f"`{name}`" if name not in (RAW, *BY) else name
    short = max(len(row["seeds"]) for row in rows) - len(own[0]["seeds"])
    if name not in (RAW, BOOSTING) and short:
        title += f" ({len(own[0]['seeds'])} seed{'s' * (len(own[0]['seeds']) > 1)})"
    figures = [words(found.get("knn"), "last"), words(found.get("knn"), "untrained")]
    figures += [words(found.get(by + amount), "last") for amount in LABELS]
    figures.append(words(found.get(by), "untrained"))
    seconds, memory = own[0]["seconds"], own[0]["memory_mib"]
    return [title, *figures, *("" if value is None else f"{value:.0f}" for value in (seconds, memory))]


def words(row: Row | None, which: str) -> str:
    """Write a figure in per cent."""
    if row is None or row[which] is None:
        return ""
    deviation = row[which]["std"]
    return f"{100 * row[which]['mean']:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def mean(rows: list[Row], method: str, protocol: str, which: str) -> float:
    """Return a mean in [0, 1]; 0 where there is none."""
    found = [row[which] for row in rows if (row["method"], row["protocol"]) == (method, protocol)]
    return float(found[0]["mean"]) if found and found[0] else 0.0


def below_untrained(rows: list[Row]) -> dict[str, list[str]]:
    """Return by suite the methods whose features are worse than those of their untrained backbone, and by what."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["protocol"] in ("knn", "linear") and row["untrained"] and row["last"]:
            gap = row["last"]["mean"] - row["untrained"]["mean"]
            if gap < 0:
                found.setdefault(row["suite"], []).append(f"`{row['method']}` ({row['protocol']}, {100 * gap:.1f})")
    return found


def pooled(before: list[Row], after: list[Row]) -> list[Row]:
    """Return the rows of two tables as one: other seeds are brought together; of rows that share one, the later."""
    rows = {tuple(row[part] for part in KEY): row for row in before}
    for row in after:
        key = tuple(row[part] for part in KEY)
        old = rows.get(key)
        if old is None or set(old["seeds"]) & set(row["seeds"]):
            rows[key] = row if old is None or len(row["seeds"]) >= len(old["seeds"]) else old
            continue
        counts = len(old["seeds"]), len(row["seeds"])
        figures = {which: pooled_score(old[which], row[which], *counts) for which in ("untrained", "last", "best")}
        seconds = [found["seconds"] for found in (old, row)]
        figures["seconds"] = None if None in seconds else pooled_score(*({"mean": s} for s in seconds), *counts)["mean"]
        figures["memory_mib"] = max(found["memory_mib"] or 0 for found in (old, row)) or None
        rows[key] = row | figures | {part: sorted(old[part] + row[part]) for part in ("seeds", "diverged")}
    return list(rows.values())


def pooled_score(first: Row | None, second: Row | None, m: int, n: int) -> Row | None:
    """Return mean and deviation of m and n values, of whose means and deviations (n - 1) alone are known."""
    if first is None or second is None:
        return first or second
    mean = (m * first["mean"] + n * second["mean"]) / (m + n)
    squares = sum(
        (count - 1) * (found.get("std") or 0) ** 2 + count * (found["mean"] - mean) ** 2
        for found, count in ((first, m), (second, n))
    )
    return {"mean": mean, "std": math.sqrt(squares / (m + n - 1))}


def main(options: argparse.Namespace) -> None:
    """Replace what lies between the markers."""
    contents = [json.loads(path.read_text()) for path in options.json]
    for row in (row for content in contents for row in content["rows"]):
        row["data"] = Path(row["data"]).name  # the same set, wherever it lies
    content = contents[0]
    for more in contents[1:]:
        content |= {part: more[part] for part in ("versions", "machine", "date") if part in more}
        content["rows"] = pooled(content["rows"], more["rows"])
        content["suites"] = list(dict.fromkeys((*content["suites"], *more["suites"])))
    content.pop("cells", None)
    content.setdefault("machine", machine("cpu"))
    content.setdefault("date", f"{date.today():%-d %B %Y}")
    if options.keep:
        options.keep.write_text(json.dumps(content, indent=1) + "\n")
    before, found, rest = options.page.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise SystemExit(f"{options.page} has no lines {BEGIN} and {END}")
    options.page.write_text(f"{before}{BEGIN}\n\n{section(content)}\n\n{END}{after}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("json", type=Path, nargs="+", help="tables, the oldest first")
    parser.add_argument("--keep", type=Path, help="write the rows here, without the cells")
    main(parser.parse_args())
