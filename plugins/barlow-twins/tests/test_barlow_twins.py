"""Barlow Twins: head, views, loss scale, and what LARS makes of it."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_barlow_twins import BarlowTwins, BarlowTwinsLoss
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import Overrides, registry
from ssl_registry.testing import method_checks

SMALL = {"projection_dim": 16}


def make(**options):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))
    return registry.create("barlow-twins", backbone=backbone, input_shape=(5,), seed=0, **SMALL | options)


def one_step(model):
    """Return each parameter's change in one optimizer step, on one batch."""
    trainer = Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer.fit(model, DataLoader(torch.randn(16, 5, generator=torch.Generator().manual_seed(0)), batch_size=16))
    return {name: p.detach() - before[name] for name, p in model.named_parameters()}


def test_default_head_is_the_papers():
    """Three layers of 8192, BatchNorm and ReLU behind the first two, no bias anywhere."""
    with torch.device("meta"):  # half a gigabyte that nobody looks at
        head = BarlowTwins(BarlowTwins.Config()).build_heads(6, Overrides())["projection_head"]
    assert [type(m).__name__ for m in head] == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    linear = [m for m in head if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(6, 8192), (8192, 8192), (8192, 8192)]
    assert all(m.bias is None for m in linear)


def test_layers_of_the_head_are_an_option():
    """Two, as benchmarks on small images have them."""
    head = make(projection_layers=2).heads["projection_head"]
    assert sum(isinstance(m, nn.Linear) for m in head) == 2


def test_loss_is_the_weighted_sum_times_its_scale():
    """What `compute_loss` gives is the loss of the two projections, and its terms without weights."""
    model = make(lambd=0.01, loss_scale=0.5)
    views = [torch.randn(8, 5), torch.randn(8, 5)]
    z = [model.method.forward(model, view) for view in views]
    found = model.hook.compute_loss(model=model, views=views, ctx=None)
    torch.testing.assert_close(found["loss"], 0.5 * BarlowTwinsLoss(0.01)(*z))
    torch.testing.assert_close(found["loss"], 0.5 * (found["invariance"] + 0.01 * found["redundancy"]))


def test_loss_scale_is_the_rate_of_biases_and_norms_under_lars():
    """A weight's first step does not see it, a bias's is in proportion: 0.2 and 0.0048 of the paper."""
    steps = {scale: one_step(make(loss_scale=scale, weight_decay=1e-9)) for scale in (1.0, 0.024)}
    seen = 0
    for name, step in steps[1.0].items():
        expected = step if step.ndim > 1 else 0.024 * step
        torch.testing.assert_close(steps[0.024][name], expected, rtol=1e-3, atol=1e-7)
        seen += step.ndim <= 1 and bool(step.abs().max() > 1e-5)
    assert seen >= 2


def test_views_are_byols():
    """Blur always and solarization never, and the other way about, on images large enough to blur."""
    policy = BarlowTwins(BarlowTwins.Config()).build_views(224)
    assert [(view.blur, view.solarize) for view in policy.views] == [(1.0, 0.0), (0.1, 0.2)]
    assert all(view.blur == 0 for view in BarlowTwins(BarlowTwins.Config()).build_views(32).views)


@pytest.mark.parametrize("check", method_checks("barlow-twins", options=SMALL, slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
