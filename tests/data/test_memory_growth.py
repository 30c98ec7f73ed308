"""Epoch after epoch, loading holds no more memory."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# Python 3.12 warns of every fork of a process with threads, and torch has threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "memory.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the share of memory of each process is Linux's own account")
def test_memory_stays_flat() -> None:
    """Less than a MiB an epoch over six epochs of 2,000 files (6 MiB of pixels) with two workers."""
    spec = importlib.util.spec_from_file_location("benchmark_memory", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rows = script.measure(files=2000, epochs=6, workers=2)
    assert all(row["workers"] > 0 for row in rows)
    assert script.growth(rows) < 2**20
