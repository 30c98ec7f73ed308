"""The rules against the papers' formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_registry.recipes import rescale


@given(batch=st.integers(1, 32768), base=st.floats(1e-4, 10))
def test_linear_is_base_times_batch_over_256(batch, base):
    """A rate published for 4096 as base * 4096 / 256 becomes base * batch / 256 (Goyal et al.; BYOL, SimCLR)."""
    scaled = rescale({"lr": base * 4096 / 256}, {"lr": "linear"}, batch / 4096)
    assert scaled["lr"] == pytest.approx(base * batch / 256)


@given(momentum=st.floats(0.9, 0.9999), factor=st.integers(2, 16))
def test_power_keeps_the_average_over_the_same_samples(momentum, factor):
    """One step at momentum ** k forgets as much as k steps at momentum (Busbridge et al., definition of the rule)."""
    one = rescale({"m": momentum}, {"m": "power"}, factor)["m"]
    kept = 1.0
    for _ in range(factor):
        kept *= momentum
    assert one == pytest.approx(kept)


def test_inverse_keeps_the_samples_and_whole_steps():
    """Half the steps at twice the batch; never none, unless none were asked for."""
    rules = {"warmup_steps": "inverse"}
    assert rescale({"warmup_steps": 3128}, rules, 2)["warmup_steps"] == 1564
    assert rescale({"warmup_steps": 3}, rules, 100)["warmup_steps"] == 1
    assert rescale({"warmup_steps": 0}, rules, 100)["warmup_steps"] == 0


def test_at_the_same_batch_nothing_changes():
    """Not by a rounding error either."""
    assert rescale({"m": 0.996}, {"m": "power"}, 1.0) == {"m": 0.996}


def test_sqrt_is_dinov2s_rule():
    """Four times the samples, twice the rate: 0.004 * sqrt(batch size / 1024)."""
    assert rescale({"learning_rate": 0.004}, {"learning_rate": "sqrt"}, 4096 / 1024)["learning_rate"] == 0.008
