"""Waits for a GPU, as CUDA tells of them; the check itself is tested by its mutants."""

from __future__ import annotations

import warnings

import pytest
import torch

from ssl_registry.testing.checks.resources import _by_cuda


@pytest.fixture
def modes(monkeypatch):
    """Put a stand-in into the place of CUDA's debug mode: the modes that were set."""
    set_to = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_to.append)
    return set_to


def test_cuda_tells_of_each_wait(modes):
    """Every time that a line waits, and nothing of other warnings."""
    with _by_cuda() as found:
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation (Triggered internally at ...)", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert len(found) == 2
    assert modes == ["warn", 0]


def test_cuda_is_left_as_it_was(modes):
    """Also when the block fails."""
    with pytest.raises(ZeroDivisionError), _by_cuda():
        raise ZeroDivisionError
    assert modes == ["warn", 0]
