"""The table of the benchmarks: what was measured, between two markers, and goals that were missed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "table.py"


def row(**change):
    figures = {"seconds": 0.0123, "low": 0.012, "high": 0.013, "ratio": 1.0, "goal": None, "peak": None}
    return {"section": "Loss", "work": "2N = 8", "who": "ours", **figures, **change}


def write(tmp_path: Path, page: str, *rows: dict) -> subprocess.CompletedProcess[str]:
    (tmp_path / "page.md").write_text(page)
    (tmp_path / "found.json").write_text(json.dumps({"machine": "a machine", "rows": rows}))
    command = [sys.executable, SCRIPT, tmp_path / "page.md", tmp_path / "found.json"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_figures_replace_what_was_there(tmp_path):
    """The text around the markers stays; the old table goes."""
    page = "before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n"
    assert write(tmp_path, page, row(), row(who="a peer", ratio=2.5, peak=7.2)).returncode == 0
    lines = (tmp_path / "page.md").read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert "old" not in lines
    assert "### Loss" in lines
    assert "| 2N = 8 | ours | 12.3 | 12 .. 13 | 1.00 |  |" in lines
    assert "|  | a peer | 12.3 | 12 .. 13 | 2.50 | 7 |" in lines


def test_missed_goals_are_told(tmp_path):
    """A ratio below what was wanted stands beside it."""
    page = "<!-- figures: begin -->\n<!-- figures: end -->\n"
    write(tmp_path, page, row(), row(who="a peer", ratio=1.2, goal=1.5), row(who="another", ratio=1.6, goal=1.5))
    text = (tmp_path / "page.md").read_text()
    assert "1.20 (goal 1.5)" in text
    assert "| 1.60 |" in text


def test_page_without_markers_is_left_alone(tmp_path):
    """The error names the markers."""
    found = write(tmp_path, "a page\n", row())
    assert found.returncode == 1
    assert "<!-- figures: begin -->" in found.stderr
    assert (tmp_path / "page.md").read_text() == "a page\n"
