"""Where weights are sharded over ranks, no rank runs the network by itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, SingleDeviceStrategy

from ssl_registry.training.callbacks import CollapseGuard, OnlineProbe
from ssl_registry.training.callbacks import guard as guard_module
from ssl_registry.training.callbacks import probe as probe_module
from ssl_registry.training.callbacks.recompute import keeps_weights_whole


@pytest.mark.parametrize(
    ("strategy", "whole"), [(SingleDeviceStrategy("cpu"), True), (DDPStrategy(), True), (FSDPStrategy(), False)]
)
def test_which_strategies_keep_weights_whole(strategy, whole):
    """One device and DDP do, FSDP does not."""
    assert keeps_weights_whole(SimpleNamespace(strategy=strategy)) is whole


def test_sharded_weights_are_not_run_apart(fit, monkeypatch):
    """No probe, and no trivial loss; the guard still sees what the training itself computes."""
    monkeypatch.setattr(guard_module, "keeps_weights_whole", lambda trainer: False)
    monkeypatch.setattr(probe_module, "keeps_weights_whole", lambda trainer: False)
    guard, probe = CollapseGuard(), OnlineProbe(budget=1e9)
    fit("simclr", guard, probe, steps=31)
    assert probe.last is None
    assert [snapshot.trivial_loss for snapshot in guard.snapshots] == [None] * 3
    assert all("projection_head" in snapshot.spread for snapshot in guard.snapshots)
