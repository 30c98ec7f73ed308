"""Cells become rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssl_registry.workflows.bench import Cell, markdown, summarize


def cell(seed, last, best=None, seconds=10.0):
    accuracy = {"untrained": {"knn": 0.5}, "last": {"knn": last}}
    if best is not None:
        accuracy["best"] = {"knn": best}
    return Cell("m", "d", seed, {}, accuracy, 1, 10, seconds, 100.0 + seed)


def test_mean_deviation_time_and_memory():
    """Over seeds: mean, sample deviation, mean time, the highest peak."""
    (row,) = summarize([cell(0, 0.8, 0.9), cell(1, 0.9, 0.9, seconds=20.0)])
    assert row.last.mean == pytest.approx(0.85)
    assert row.last.std == pytest.approx(0.0707, abs=1e-4)
    assert (row.seconds, row.memory_mib, row.seeds) == (15.0, 101.0, (0, 1))


def test_a_resumed_run_has_no_time():
    """What was spent before it was stopped is not known."""
    (row,) = summarize([cell(0, 0.8, seconds=None)])
    assert row.seconds is None
    assert row.words["s"] == ""


def test_markdown():
    """A table that renders; a column that says nothing is left out, and what is missing in others stays empty."""
    lines = markdown(summarize([cell(0, 0.8), replace(cell(0, 0.7, 0.9), method="n")])).splitlines()
    assert lines[0].startswith("| method | data | seeds |")
    assert lines[1].startswith("| --- |")
    assert lines[2] == "| m | d | 1 | knn | 50.0 | 80.0 |  | 10 | 100 |"
    assert "best epoch" not in markdown(summarize([cell(0, 0.8)]))


def test_the_raw_input_is_a_row_of_its_suite():
    """Once a seed, whichever method measured it, before the methods."""
    cells = [replace(cell(seed, 0.8), suite="s", method=method) for seed in (0, 1) for method in ("m", "n")]
    for one in cells:
        one.accuracy["raw"] = {"knn": 0.6 + one.seed / 10}
    raw, *methods = summarize([*cells, replace(cell(0, 0.1), suite="t")])
    assert (raw.method, raw.seeds, raw.last.mean) == ("raw input", (0, 1), pytest.approx(0.65))
    assert [(row.suite, row.method) for row in methods] == [("s", "m"), ("s", "n"), ("t", "m")]
    assert markdown([raw, *methods]).startswith("| suite | method |")
