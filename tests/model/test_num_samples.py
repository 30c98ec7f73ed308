"""`num_samples`: heads that have something for each training sample."""

from __future__ import annotations

import pytest
from tiny import Tiny, fit, loader, make, network
from torch import nn

from ssl_registry import Registry, hookimpl
from ssl_registry.data import open_source
from ssl_registry.errors import ConfigError
from ssl_registry.run_options import RunOptions
from ssl_registry.training.building import build_model


class PerSample(Tiny):
    """Has as many outputs as there are samples, or none."""

    @hookimpl
    def build_heads(self, feature_dim, num_samples):
        return {"head": nn.Linear(feature_dim, num_samples or 1)}


def test_not_known_outside_of_a_run():
    """The method decides what that means."""
    assert make(PerSample).heads["head"].out_features == 1


def test_a_checkpoint_remembers_it(tmp_path):
    """Reopening builds heads of the same size."""
    registry = Registry(entry_points=False)
    registry.register("per-sample", PerSample)
    model = registry.create("per-sample", backbone=network(), input_shape=(5,), num_samples=24)
    fit(model, loader(samples=4), max_epochs=1).save_checkpoint(tmp_path / "x.ckpt")
    reopened = registry.load(tmp_path / "x.ckpt", backbone=network())
    assert (reopened.num_samples, reopened.heads["head"].out_features) == (24, 24)


def test_a_run_counts_its_training_part():
    """1,300 of the embedded digits train, the others are held out."""
    registry = Registry(entry_points=False)
    registry.register("per-sample", PerSample)
    model = build_model(
        "per-sample", open_source("digits"), RunOptions(backbone="resnet10t"), options={}, registry=registry
    )
    assert model.heads["head"].out_features == model.num_samples == 1300


@pytest.mark.parametrize("number", [0, 2.5])
def test_wrong_numbers(number):
    """They are told before anything is built."""
    with pytest.raises(ConfigError, match=f"num_samples={number} must be a whole number"):
        make(PerSample, num_samples=number)
