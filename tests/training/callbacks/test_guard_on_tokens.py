"""The guard sees the features of a method that works on tokens."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback
from masked import masked_registry
from torch import nn

from ssl_registry.nn import Tokens
from ssl_registry.testing.subject import Subject, loader, make_trainer
from ssl_registry.training.callbacks import CollapseGuard
from ssl_registry.training.callbacks import guard as guard_module
from ssl_registry.training.callbacks.recompute import trivial_loss


def fit(model, subject, *callbacks: Callback, steps: int) -> None:
    batches = [subject.batch(count=64)[step * 16 % 48 :][:16] for step in range(steps)]
    make_trainer(max_steps=steps, callbacks=list(callbacks)).fit(model, loader(batches))


def test_is_silent_on_a_healthy_run(monkeypatch):
    """It judges the mean of the patch tokens, and the loss is not at its trivial value."""
    monkeypatch.setattr(guard_module, "TRIVIAL_LOSS_EVERY", 1)
    subject, guard = Subject("masked", masked_registry()), CollapseGuard()
    fit(subject.model(), subject, guard, steps=101)
    assert len(guard.snapshots) == 10
    assert all(snapshot.spread["backbone"] > 0.03 for snapshot in guard.snapshots)
    assert guard.message is None


def test_fires_on_a_backbone_that_gives_every_sample_the_same():
    """Tokens without anything of the image are told as the backbone's collapse."""
    subject, guard = Subject("masked", masked_registry()), CollapseGuard()
    model = subject.model()
    nn.init.zeros_(model.backbone.patch_embed.proj.weight)
    model.backbone.patch_embed.proj.weight.requires_grad_(False)
    fit(model, subject, guard, steps=41)
    assert guard.message is not None


@pytest.mark.parametrize("layers", [(), (0, 1)])
def test_trivial_loss_makes_all_tokens_alike(layers):
    """Every sample gets the mean tokens: prefix, patches and layers."""
    subject, seen = Subject("masked", masked_registry()), []
    model = subject.model()
    x = subject.batch(count=4).expand(-1, model.input_shape[0], -1, -1).float()

    def loss(batch, batch_idx, quiet):
        seen.append(model.tokens(x, layers=layers))
        return torch.zeros(()), {}

    model.batch_loss = loss
    trivial_loss(model, None, 0)
    with torch.no_grad():
        wanted = model.tokens(x, layers=layers)
    (found,) = seen
    assert isinstance(found, Tokens)
    assert found.grid == wanted.grid
    for alike, own in zip(
        (found.prefix, found.patches, *found.layers), (wanted.prefix, wanted.patches, *wanted.layers), strict=True
    ):
        torch.testing.assert_close(alike, own.mean(0, keepdim=True).expand_as(own))
