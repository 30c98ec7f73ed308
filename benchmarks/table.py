"""Write what the benchmarks measured into a page, between two markers.

python benchmarks/table.py docs/performance.md runs/bench/*.json
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def table(section: str, rows: list[dict[str, Any]]) -> str:
    """Return a section's table in Markdown."""
    memory = any(row["peak"] is not None for row in rows)
    head = ["work", "who", "median ms", "quartiles", "times ours", *(["peak MiB"] if memory else [])]
    lines = [f"### {section}", "", "| " + " | ".join(head) + " |", "|---" * 2 + "|--:" * (len(head) - 2) + "|"]
    for work, group in groupby(rows, key=lambda row: row["work"]):
        for number, row in enumerate(group):
            cells = [
                "" if number else work,
                row["who"],
                f"{1e3 * row['seconds']:.3g}" if row["seconds"] < 1 else f"{1e3 * row['seconds']:.0f}",
                f"{1e3 * row['low']:.3g} .. {1e3 * row['high']:.3g}" if row["high"] < 1 else
                f"{1e3 * row['low']:.0f} .. {1e3 * row['high']:.0f}",
                ratio(row),
                *(["" if row["peak"] is None else f"{row['peak']:.0f}"] if memory else []),
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratio(row: dict[str, Any]) -> str:
    """Return how many times longer than ours, and the goal where it was missed."""
    missed = row["goal"] is not None and row["ratio"] < row["goal"]
    return f"{row['ratio']:.2f}" + (f" (goal {row['goal']})" if missed else "")


def main(page: Path, files: list[Path]) -> None:
    """Replace what lies between the markers."""
    before, found, rest = page.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise SystemExit(f"{page} has no lines {BEGIN} and {END}")
    content = [json.loads(file.read_text()) for file in files]
    machines = sorted({one["machine"] for one in content})
    rows = [row for one in content for row in one["rows"]]
    sections = dict.fromkeys(row["section"] for row in rows)
    tables = [table(section, [row for row in rows if row["section"] == section]) for section in sections]
    figures = "\n\n".join([f"Measured on: {'; '.join(machines)}.", *tables])
    page.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
