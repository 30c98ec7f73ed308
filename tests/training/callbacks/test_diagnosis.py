"""What snapshots mean: the rules alone, without a network."""

from __future__ import annotations

import math

import torch
from torch import nn

from ssl_registry import MethodConfig, hookimpl
from ssl_registry._registry import Registry
from ssl_registry.training.callbacks.diagnosis import Snapshot, judge, likely_causes


def seen(step=10, loss=1.0, trivial=None, **spread):
    return Snapshot(step, loss, spread or {"backbone": 0.3}, dict.fromkeys(spread or {"backbone": 0.3}, 9.0), trivial)


def test_healthy_snapshots_say_nothing():
    """Spread features, a loss far from its trivial value."""
    assert judge([seen(loss=2.0, trivial=4.0)] * 5) is None


def test_three_snapshots_must_agree():
    """One odd batch is no collapse."""
    dead, alive = seen(head=0.01), seen(head=0.8)
    assert judge([dead, dead]) is None
    assert judge([dead, alive, dead]) is None
    assert judge([alive, dead, dead, dead]).constant == {"head"}


def test_a_head_is_judged_more_strictly_than_a_backbone():
    """A backbone's features share a mean: 0.05 is low for a head alone."""
    assert judge([seen(backbone=0.05)] * 3) is None
    assert judge([seen(backbone=0.05, head=0.05)] * 3).constant == {"head"}


def test_a_backbone_is_not_collapsed_while_a_head_tells_samples_apart():
    """A large shared mean hides what is still there (a transformer under a high learning rate)."""
    assert judge([seen(backbone=0.002, head=0.9)] * 3) is None
    assert judge([seen(backbone=0.002, head=0.01)] * 3).constant == {"backbone", "head"}


def test_rising_spread_is_a_beginning():
    """A transformer's first features are alike, and part as it learns."""
    assert judge([seen(head=0.02), seen(head=0.03), seen(head=0.05)]) is None


def test_an_output_that_is_frozen_for_an_epoch_is_not_judged():
    """Three snapshots must have seen it."""
    assert judge([seen(head=0.01), seen(), seen(head=0.01)]) is None


def test_loss_at_its_trivial_value():
    """Equal within a fifth of a percent, three times; those between have none."""
    stuck, between = seen(loss=4.844, trivial=4.8442), seen(loss=4.844)
    assert judge([stuck, between, stuck, between]) is None
    assert "trivial value at step 10: 4.844" in judge([stuck, between, stuck, between, stuck]).sentence
    assert judge([stuck, stuck, seen(loss=4.7, trivial=4.8442)]) is None


def test_loss_that_is_worse_than_trivial_is_not_stuck():
    """Where predictors have just begun, a constant backbone is easier to predict from."""
    assert judge([seen(loss=47.0, trivial=42.0)] * 3) is None


def test_loss_that_is_not_finite_is_no_collapse():
    """The guard of divergence tells of it, whatever the features look like."""
    assert judge([seen(head=0.01)] * 3) is not None
    assert judge([seen(head=0.01)] * 2 + [seen(loss=math.nan, head=0.01)]) is None


class Averaged:
    """A method of other words than BYOL's. Nobody (2020)."""

    class Config(MethodConfig):
        """Its options."""

        momentum: float = 0.1

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim, overrides):
        return {
            "mapper": overrides.get("mapper", nn.Linear(feature_dim, 4)),
            "teacher": nn.Linear(feature_dim, 4),
            "criterion": nn.CosineSimilarity(),
        }

    @hookimpl
    def compute_loss(self, model, views):
        return model(views[0]).sum()


def causes(**options):
    registry = Registry()
    registry.register("averaged")(Averaged)
    model = registry.create("averaged", backbone=nn.Linear(6, 4), input_shape=(6,), **options)
    return likely_causes(model, {"mapper", "backbone"}, torch.eye(6))


def test_causes_need_no_words_of_a_method():
    """A low momentum is named whatever the moving average is called; the method's own parts may have no parameters."""
    first, *rest = causes()
    assert first == "momentum=0.1 lets the moving average follow at once; 0.9 to 0.996 are usual"
    assert not any("no parameters" in cause for cause in rest)
    assert not any("momentum" in cause for cause in causes(momentum=0.99))


def test_a_part_of_the_users_without_parameters_is_a_cause():
    """It took the place of one that learns."""
    assert causes(mapper=nn.Identity())[0].startswith("mapper has no parameters (yours in place of the method's)")
