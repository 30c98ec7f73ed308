"""VIME: which features are replaced and by what, both losses, where the marginals come from, and what is refused."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_vime import VIME
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import Context, registry
from ssl_registry.errors import ConfigError
from ssl_registry.testing import method_checks

SMALL = {"marginal_size": 24}
FEATURES = 5


def make(**options):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(FEATURES, 12), nn.ReLU(), nn.Linear(12, 6))
    return registry.create("vime", backbone=backbone, input_shape=(FEATURES,), seed=0, **SMALL | options)


def rows(count=24, seed=0):
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed))


def context(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)


def fit(model, data, checkpoint=None, **arguments):
    trainer = Trainer(
        **{"max_epochs": 1} | arguments,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(data, batch_size=8), ckpt_path=checkpoint, weights_only=True)
    return trainer


def loss_of(model, x, seed=0):
    return model.hook.compute_loss(model=model, views=[x], ctx=context(seed))


class Seen(nn.Module):
    """An estimator that keeps what it was given."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.full((FEATURES,), value))

    def forward(self, features):
        self.features = features
        return self.value.expand(len(features), -1)


@pytest.mark.parametrize("probability", [0.3, 0.8])
def test_each_feature_is_replaced_with_the_probability(probability):
    """Independently of the others: in some rows none is, in some rows many are."""
    model = make(mask_probability=probability)
    x = rows(4000)
    changed = model.method.corrupt(model, x, context()) != x
    assert changed.double().mean(0).tolist() == pytest.approx([probability] * FEATURES, abs=0.03)
    assert changed.sum(1).double().var().item() == pytest.approx(FEATURES * probability * (1 - probability), rel=0.1)


def test_values_come_from_their_features_marginals():
    """Of the training's rows, whatever the batch holds."""
    training, x = rows(24, 1), rows(8, 2)
    model = make()
    fit(model, training)
    found = model.method.corrupt(model, x, context())
    new = [found[:, column][found[:, column] != x[:, column]] for column in range(FEATURES)]
    assert sum(map(len, new)) > 4
    assert all(torch.isin(values, training[:, column]).all() for column, values in enumerate(new))


def test_mask_is_where_values_differ():
    """A feature that always has one value is replaced by it, and counts as left alone (the authors' code)."""
    model = make(mask_probability=0.9, mask_estimator=Seen(-30.0))
    x = rows(24)
    x[:, 2] = 1.0
    model.heads["marginals"].fill(x)
    changed = model.method.corrupt(model, x, context()) != x
    assert not changed[:, 2].any()
    assert changed[:, 0].any()
    # An estimator that is sure that nothing was replaced has a loss of 30 for each replaced feature alone.
    assert loss_of(model, x)["mask"].item() == pytest.approx(30 * changed.double().mean().item(), rel=1e-5)


def test_losses_are_the_papers():
    """Equations 5 and 6 in float64; the squared error is that of all features, replaced or not."""
    model = make(feature_weight=3.0)
    model.heads["marginals"].fill(rows(24, 1))
    x = rows(6)
    found = loss_of(model, x, 3)
    corrupted = model.method.corrupt(model, x, context(3))
    h = model.backbone(corrupted)
    p = model.heads["mask_estimator"](h).double().sigmoid()
    m = (corrupted != x).double()
    cross_entropy = -(m * p.log() + (1 - m) * (1 - p).log()).sum().item() / x.numel()
    squares = (model.heads["feature_estimator"](h).double() - x.double()).square().sum().item() / x.numel()
    assert found["mask"].item() == pytest.approx(cross_entropy, abs=1e-6)
    assert found["features"].item() == pytest.approx(squares, abs=1e-6)
    assert found["loss"].item() == pytest.approx(cross_entropy + 3 * squares, abs=1e-5)


def test_backbone_sees_the_corrupted_row_once():
    """Both estimators get the same features, and those of the corrupted row."""
    mask, guess = Seen(), Seen()
    model = make(mask_estimator=mask, feature_estimator=guess)
    x = rows(6)
    loss_of(model, x, 3)
    assert mask.features is guess.features
    torch.testing.assert_close(mask.features, model.backbone(model.method.corrupt(model, x, context(3))))


def test_each_step_corrupts_anew():
    """Another place in the run, other features."""
    model = make()
    found = [model.method.corrupt(model, rows(), context(seed)) for seed in (0, 1)]
    assert not torch.equal(*found)


def test_resumed_run_keeps_its_marginals(tmp_path):
    """A run that goes on takes them from its checkpoint; a new one reads them from its own data."""
    model = make()
    fit(model, rows(24, 1)).save_checkpoint(tmp_path / "last.ckpt")
    again = make()
    fit(again, rows(24, 2), checkpoint=tmp_path / "last.ckpt", max_epochs=2)
    assert torch.equal(again.heads["marginals"].values, rows(24, 1).sort(0).values)
    fit(again, rows(24, 2))
    assert torch.equal(again.heads["marginals"].values, rows(24, 2).sort(0).values)


def test_defaults_are_the_authors():
    """Keras's RMSprop has no momentum, which timm's has; estimators are a layer each."""
    model = make()
    group = fit(model, rows(), max_steps=1).optimizers[0].param_groups[0]
    assert (group["lr"], group["alpha"], group["momentum"], group["weight_decay"]) == (1e-3, 0.9, 0.0, 0.0)
    for name in ("mask_estimator", "feature_estimator"):
        assert model.heads[name].weight.shape == (FEATURES, 6)
    config = VIME.Config()
    assert (config.mask_probability, config.feature_weight) == (0.3, 2.0)


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 64)])
def test_tables_alone(shape):
    """Images and signals are refused before anything is built."""
    with pytest.raises(ConfigError, match=r"does not take (images|signals)"):
        registry.create("vime", backbone=nn.Flatten(), input_shape=shape)


@pytest.mark.parametrize("check", method_checks("vime", options=SMALL, slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
