"""The guard on real trainings: it fires on real collapses, is silent on healthy runs, and disturbs nothing."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback
from logged import logged
from torch import nn

from ssl_registry.errors import CheckpointError, ConfigError
from ssl_registry.measures.collapse import feature_spread
from ssl_registry.training.callbacks import CollapseGuard
from ssl_registry.training.callbacks import guard as guard_module

# BYOL without predictor and momentum: nothing is left that keeps samples apart.
COLLAPSING = {"momentum": 0.0, "final_momentum": 0.0, "learning_rate": 0.01}


@pytest.fixture
def watched():
    """Make a guard, and collect what it logs."""
    with logged(guard_module.__name__) as lines:
        yield lambda mode="warn": (CollapseGuard(mode), lines)


def projection_spread(model, source):
    """Of the held-out samples, by the projection head in training mode, as the loss sees it."""
    x = model.view_policy.prepare(source.test.x)
    with torch.no_grad():
        return float(feature_spread(model.heads["projection_head"].train()(model.backbone.train()(x))))


def test_fires_on_byol_without_predictor_and_momentum(fit, source, watched):
    """The collapse happens, is told once within three epochs, and the first causes are the true ones."""
    guard, lines = watched()
    model, trainer = fit("byol", guard, steps=80, prediction_head=nn.Identity(), **COLLAPSING)
    assert projection_spread(model, source) < 0.1
    assert trainer.global_step == 80
    (line,) = lines
    assert line == guard.message
    assert "_head gives nearly the same for every sample" in line
    assert int(line.partition("step ")[2].partition(":")[0]) <= 60
    assert line.index("(1)") < line.index("prediction_head has no parameters") < line.index("momentum=0.0")


def test_fires_on_simclr_with_a_constant_head(fit, constant_head, watched):
    """The head is named, and that the backbone is not to blame."""
    guard, lines = watched()
    fit("simclr", guard, steps=40, projection_head=constant_head)
    (line,) = lines
    assert "projection_head gives nearly the same for every sample (spread 0.0000" in line
    assert "(1) projection_head alone gives a constant while the backbone still tells samples apart" in line


@pytest.mark.slow  # whole trainings of every first method
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("method", "options"), [("byol", {"momentum": 0.9}), ("byol", {}), ("simclr", {}), ("lfr", {})]
)
def test_is_silent_on_healthy_runs(fit, method, options, seed, watched):
    """Five epochs of each method, two seeds; it did take snapshots."""
    guard, lines = watched()
    fit(method, guard, steps=101, seed=seed, **options)
    assert lines == []
    assert len(guard.snapshots) == 10
    assert sum(snapshot.trivial_loss is not None for snapshot in guard.snapshots) == 3


def test_stop_ends_the_run_cleanly(fit, constant_head, tmp_path, watched):
    """Behind the step that told; Lightning writes its checkpoint as at any end."""
    guard, lines = watched("stop")
    _, trainer = fit(
        "simclr",
        guard,
        steps=200,
        projection_head=constant_head,
        trainer={"enable_checkpointing": True, "default_root_dir": tmp_path},
    )
    assert trainer.global_step == guard.snapshots[-1].step < 50
    assert len(lines) == 1
    assert list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("method", ["byol", "simclr", "lfr", "moco"])
def test_weights_are_bit_identical_with_and_without_it(fit, method, watched):
    """Its own passes leave neither statistics nor random numbers behind, nor put a batch into a queue twice."""
    guard, _ = watched()
    first, _ = fit(method, guard, steps=34)
    second, _ = fit(method, steps=34)
    assert any(snapshot.trivial_loss is not None for snapshot in guard.snapshots)
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


def test_network_is_hooked_at_snapshots_alone(fit, monkeypatch, watched):
    """Between two snapshots it runs no code of its own in the network, and afterwards none is left."""
    monkeypatch.setattr(guard_module, "EARLY_EVERY", 7)
    guard, _ = watched()
    hooked = []

    class Spy(CollapseGuard):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if pl_module.backbone._forward_hooks:
                hooked.append(trainer.global_step)

    model, _ = fit("simclr", guard, Spy("off"), steps=22)
    assert hooked == [7, 14, 21]
    assert not any(part._forward_hooks for part in model.modules())


def test_off_takes_no_snapshot(fit, constant_head, watched):
    """No snapshot, no warning."""
    guard, lines = watched("off")
    fit("simclr", guard, steps=31, projection_head=constant_head)
    assert (guard.snapshots, lines) == ([], [])


def test_accumulated_batches_are_one_step(fit, watched):
    """With accumulation it looks at one batch of a step, and at the loss as the method gave it."""
    guard, lines = watched()
    fit("simclr", guard, steps=21, trainer={"accumulate_grad_batches": 2})
    assert [snapshot.step for snapshot in guard.snapshots] == [10, 20]
    assert all(3 < snapshot.loss < 5 for snapshot in guard.snapshots)
    assert lines == []


def test_unknown_mode_is_refused():
    """With the modes there are."""
    with pytest.raises(ConfigError, match="guard='loud' is not known; use 'warn', 'stop', 'off'"):
        CollapseGuard("loud")


@pytest.mark.slow
def test_compiled_networks_are_looked_at_too(fit, constant_head, watched):
    """Compiled code runs no hook that came later: the batch is looked at uncompiled, and training goes on compiled."""

    class Compile(Callback):
        def on_fit_start(self, trainer, pl_module):
            pl_module.backbone.compile(backend="eager")

    guard, lines = watched()
    fit("simclr", guard, Compile(), steps=40, projection_head=constant_head)
    assert guard.snapshots[-1].spread.keys() == {"backbone", "projection_head"}
    assert len(lines) == 1


def test_a_resumed_run_remembers(fit, constant_head, tmp_path):
    """A guard that goes on has what it saw, and finds the collapse at the step at which it would have undisturbed."""

    class Save(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 25:
                trainer.save_checkpoint(tmp_path / "25.ckpt")

    whole, second = CollapseGuard(), CollapseGuard()
    fit("simclr", whole, Save(), projection_head=constant_head)
    fit("simclr", second, checkpoint=tmp_path / "25.ckpt", projection_head=constant_head)
    assert [snapshot.step for snapshot in whole.snapshots] == [11, 21, 31, 41, 51]
    assert second.snapshots == whole.snapshots
    assert second.message == whole.message is not None


def test_a_damaged_state_is_told():
    """In one line, as the rest of a damaged checkpoint."""
    with pytest.raises(CheckpointError, match="guard's part of the checkpoint is damaged"):
        CollapseGuard().load_state_dict({"snapshots": [{"step": "soon"}], "message": 3})
