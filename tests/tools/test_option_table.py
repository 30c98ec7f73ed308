"""The page of options is written from the models that declare them."""

from __future__ import annotations

import runpy
from pathlib import Path

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools/option_table.py"))


def test_the_page_is_current():
    """Otherwise: python tools/option_table.py."""
    assert TOOL["PAGE"].read_text(encoding="utf-8") == TOOL["page"]()


def test_a_row_tells_spellings_values_and_default():
    """As the command line takes them."""
    rows = TOOL["page"]().splitlines()
    assert "| `--probe-every` | int >= 0 | `1` | Epochs between two measurements during training; 0 for none. |" in rows
    (weights,) = (row for row in rows if "--start-from" in row)
    assert weights.startswith("| `--start-from`, `--from` | path \\| None |  | ")
