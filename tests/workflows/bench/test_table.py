"""Cells become rows."""

from __future__ import annotations

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
    assert row.words[-2] == ""


def test_markdown():
    """A table that renders; what is missing stays empty."""
    lines = markdown(summarize([cell(0, 0.8)])).splitlines()
    assert lines[1].startswith("| --- |")
    assert lines[2] == "| m | d | 1 | knn | 50.0 | 80.0 |  | 10 | 100 |"
