"""The page of layouts is written by opening each of them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools/layout_table.py"))
LAYOUTS = [layout for layouts in TOOL["SECTIONS"].values() for layout in layouts]


def test_the_page_is_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise: python tools/layout_table.py."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where shards are remembered
    assert TOOL["PAGE"].read_text(encoding="utf-8") == TOOL["page"]()


def test_it_has_forty_layouts_and_more() -> None:
    """Each of them once."""
    assert len({layout.what for layout in LAYOUTS}) == len(LAYOUTS) >= 40
