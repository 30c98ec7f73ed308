"""SimCLR: heads, optimizer, views, and its steps beside training."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_simclr import NTXentLoss, SimCLR
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import registry


def make(**options):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))
    return registry.create("simclr", backbone=backbone, input_shape=(5,), seed=0, **options)


def trainer(**arguments):
    return Trainer(
        **arguments,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def data():
    return DataLoader(torch.randn(16, 5, generator=torch.Generator().manual_seed(0)), batch_size=8)


def test_default_head_takes_its_width_from_the_backbone():
    """Two layers: as wide as the features, then 128; a BatchNorm behind both."""
    head = make().heads["projection_head"]
    linear = [m for m in head if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(6, 6), (6, 128)]
    assert [type(m) for m in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]


def test_temperature_reaches_the_loss():
    """The option is the loss's."""
    assert make(temperature=0.07).heads["criterion"].temperature == 0.07


def test_lars_leaves_biases_and_norms_unscaled():
    """The first step of a bias is lr * gradient; a matrix's is scaled by its trust ratio and decays."""
    model = make(weight_decay=0.1, learning_rate=0.3)
    run = trainer(max_steps=1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run.fit(model, data())
    assert "lars" in type(run.optimizers[0]).__name__.lower()
    seen = 0
    for name, p in model.named_parameters():
        step, gradient = before[name] - p.detach(), p.grad
        if p.ndim <= 1 and gradient.norm() > 1e-4:
            seen += 1
            torch.testing.assert_close(step, 0.3 * gradient, atol=1e-6, rtol=1e-3)
        elif p.ndim > 1:
            assert not torch.allclose(step, 0.3 * gradient, rtol=1e-2)
    assert seen >= 2


def test_loss_is_over_both_views():
    """What `compute_loss` gives is NT-Xent of the two projections."""
    model = make()
    views = [torch.randn(8, 5), torch.randn(8, 5)]
    z = [model.method.forward(model, view) for view in views]
    loss = model.hook.compute_loss(model=model, views=views, ctx=None)
    # BatchNorm is in train mode and sees each view alone, both times.
    torch.testing.assert_close(loss, NTXentLoss(0.5)(*z))


def test_validates_and_predicts():
    """Validation logs a loss; prediction gives features, batch by batch."""
    model = make()
    (metrics,) = trainer().validate(model, data(), verbose=False)
    assert metrics["val_loss"] > 0
    assert torch.cat(trainer().predict(model, data())).shape == (16, 6)


def test_embeds_one_sample():
    """One sample at a time gives what a batch gives."""
    model = make()
    x = torch.randn(4, 5)
    torch.testing.assert_close(torch.stack([model.embed(sample) for sample in x]), model.embed(x))


@pytest.mark.parametrize(("size", "blur"), [(224, 0.5), (32, 0.0)])
def test_views_are_alike_and_small_ones_are_not_blurred(size, blur):
    """One description, two copies, colour as strong as the paper's default."""
    (view,) = SimCLR(SimCLR.Config()).build_views(size).views
    assert (view.copies, view.blur, view.brightness, view.hue) == (2, blur, 0.8, 0.2)


def test_jitter_strength_scales_colour():
    """Half for CIFAR-10, as in the paper's appendix."""
    (view,) = SimCLR(SimCLR.Config(jitter_strength=0.5)).build_views(32).views
    assert (view.brightness, view.hue) == (0.4, 0.1)


def test_training_lowers_the_loss():
    """Twenty steps on ready-made views tell the pairs apart; at this temperature the least possible loss is near 0."""
    torch.manual_seed(0)
    x = torch.randn(32, 5)
    batches = [([x, x + 0.01 * torch.randn_like(x)], torch.zeros(32))] * 20
    model = make(optimizer="adamw", learning_rate=0.01, temperature=0.1)
    before = model.hook.compute_loss(model=model, views=batches[0][0], ctx=None).detach()
    trainer(max_epochs=1).fit(model, DataLoader(batches, batch_size=None))
    after = model.hook.compute_loss(model=model, views=batches[0][0], ctx=None).detach()
    assert after < before / 2
