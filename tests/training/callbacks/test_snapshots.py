"""What looks mean: the rules alone, without a network."""

from __future__ import annotations

import math

from ssl_registry.training.callbacks.snapshots import Look, judge


def look(step=10, loss=1.0, blind=None, **spread):
    return Look(step, loss, spread or {"backbone": 0.3}, dict.fromkeys(spread or {"backbone": 0.3}, 9.0), blind)


def test_healthy_looks_say_nothing():
    """Spread features, a loss far from its trivial value."""
    assert judge([look(loss=2.0, blind=4.0)] * 5) is None


def test_three_looks_must_agree():
    """One odd batch is no collapse."""
    dead, alive = look(head=0.01), look(head=0.8)
    assert judge([dead, dead]) is None
    assert judge([dead, alive, dead]) is None
    assert judge([alive, dead, dead, dead]).constant == {"head"}


def test_a_head_is_judged_more_strictly_than_a_backbone():
    """A backbone's features share a mean: 0.05 is low for a head alone."""
    assert judge([look(backbone=0.05)] * 3) is None
    assert judge([look(backbone=0.05, head=0.05)] * 3).constant == {"head"}


def test_a_backbone_is_not_collapsed_while_a_head_tells_samples_apart():
    """A large shared mean hides what is still there (a transformer under a high learning rate)."""
    assert judge([look(backbone=0.002, head=0.9)] * 3) is None
    assert judge([look(backbone=0.002, head=0.01)] * 3).constant == {"backbone", "head"}


def test_rising_spread_is_a_beginning():
    """A transformer's first features are alike, and part as it learns."""
    assert judge([look(head=0.02), look(head=0.03), look(head=0.05)]) is None


def test_an_output_that_is_frozen_for_an_epoch_is_not_judged():
    """Three looks must have seen it."""
    assert judge([look(head=0.01), look(), look(head=0.01)]) is None


def test_loss_at_its_trivial_value():
    """Equal within a fifth of a percent, three times; the looks between did not ask."""
    stuck, between = look(loss=4.844, blind=4.8442), look(loss=4.844)
    assert judge([stuck, between, stuck, between]) is None
    assert "trivial value at step 10: 4.844" in judge([stuck, between, stuck, between, stuck]).sentence
    assert judge([stuck, stuck, look(loss=4.7, blind=4.8442)]) is None


def test_loss_that_is_worse_than_trivial_is_not_stuck():
    """Where predictors have just begun, a blind backbone is easier to predict from."""
    assert judge([look(loss=47.0, blind=42.0)] * 3) is None


def test_loss_that_is_not_finite():
    """Told at once."""
    assert "the loss is nan at step 10: training has diverged" in judge([look(loss=math.nan)]).sentence
