"""Contenders of the benchmarks that have a process of their own."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield __import__("harness")
    del sys.modules["harness"]


def test_elsewhere(harness):
    """It is built and called there; its number comes back, and the memory that a call needs."""
    assert harness.Elsewhere(partial, torch.tensor, 2.5)() == 2.5
    if Path("/proc/self/clear_refs").exists():
        assert 16 <= harness.Elsewhere(partial, torch.ones, 1 << 22).peak() < 32
