"""SCARF: how many features are replaced and by what, the loss, where the marginals come from, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_scarf import SCARF
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import Context, registry
from ssl_registry.errors import ConfigError
from ssl_registry.nn import TableEncoder
from ssl_registry.testing import method_checks

SMALL = {"hidden_dim": 16, "projection_dim": 8, "marginal_size": 24}
FEATURES = 5


def make(features=FEATURES, **options):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(features, 12), nn.ReLU(), nn.Linear(12, 6))
    return registry.create("scarf", backbone=backbone, input_shape=(features,), seed=0, **SMALL | options)


def rows(count=24, seed=0, features=FEATURES):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


def context(seed=0, step=0):
    generator = torch.Generator().manual_seed(seed)
    return Context(0, step, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)


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


@pytest.mark.parametrize(("features", "rate", "count"), [(5, 0.6, 3), (14, 0.6, 8), (100, 0.29, 29), (2, 0.9, 1)])
def test_number_of_replaced_features(features, rate, count):
    """floor(c * M) in each row (algorithm 1, line 3), other ones in other rows."""
    model = make(features, corruption_rate=rate)
    model.heads["marginals"].fill(rows(50, 1, features))
    x = rows(40, 2, features)
    changed = model.method.corrupt(model, x, context()) != x
    assert changed.sum(1).tolist() == [count] * 40
    assert changed.any(0).all()


def test_values_come_from_their_features_marginals():
    """Of the training's rows, whatever the batch holds."""
    training, x = rows(24, 1), rows(8, 2)
    model = make()
    fit(model, training)
    found = model.method.corrupt(model, x, context())
    for column in range(FEATURES):
        new = found[:, column][found[:, column] != x[:, column]]
        assert len(new)
        assert torch.isin(new, training[:, column]).all()


def test_loss_is_the_papers():
    """Algorithm 1, line 8, in float64: the row finds the copy, not the copy the row."""
    model = make(temperature=0.1)
    model.heads["marginals"].fill(10 * rows(24, 1))
    x = 10 * rows(6)  # large values, as an untrained network says nearly the same of small ones
    found = model.hook.compute_loss(model=model, views=[x], ctx=context(3))
    copies = model.method.corrupt(model, x, context(3))
    z, other = (model.method.forward(model, value).double() for value in (x, copies))
    s = (z / z.norm(dim=1, keepdim=True)) @ (other / other.norm(dim=1, keepdim=True)).T
    papers = -torch.log((s.diagonal() / 0.1).exp() / (s / 0.1).exp().mean(1)).mean()
    assert found.item() == pytest.approx(papers.item() + math.log(6), abs=1e-6)
    backwards = -torch.log((s.diagonal() / 0.1).exp() / (s / 0.1).exp().mean(0)).mean()
    assert abs(papers.item() - backwards.item()) > 1e-3


def test_both_sides_have_a_gradient():
    """No side's is stopped: the slope is that of the formula."""
    model = make()
    x = rows(6)
    copies = model.method.corrupt(model, x, context(3))
    z, other = (nn.functional.normalize(model.method.forward(model, value)) for value in (x, copies))
    expected = nn.functional.cross_entropy(z @ other.T, torch.arange(6))
    weights = [*model.backbone.parameters(), *model.heads["projection_head"].parameters()]
    wanted = torch.autograd.grad(expected, weights)
    found = torch.autograd.grad(model.hook.compute_loss(model=model, views=[x], ctx=context(3)), weights)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)
    assert max(grad.abs().max() for grad in found) > 1e-4


def test_each_step_corrupts_anew():
    """Another place in the run, other features."""
    model = make()
    found = [model.method.corrupt(model, rows(), context(seed)) for seed in (0, 1)]
    assert not torch.equal(*found)


def test_resumed_run_keeps_its_marginals(tmp_path):
    """A run that goes on takes them from its checkpoint; a new one reads them from its own data."""
    model = make()
    fit(model, rows(24, 1)).save_checkpoint(tmp_path / "last.ckpt")
    values = model.heads["marginals"].values.clone()
    assert torch.equal(values, rows(24, 1).sort(0).values)
    again = make()
    fit(again, rows(24, 2), checkpoint=tmp_path / "last.ckpt", max_epochs=2)
    assert torch.equal(again.heads["marginals"].values, values)
    fit(again, rows(24, 2))
    assert torch.equal(again.heads["marginals"].values, rows(24, 2).sort(0).values)


def test_defaults_are_the_papers():
    """Four layers of 256 and a head of two, both with ReLU alone; Adam at 0.001 without weight decay (section 4)."""
    model = registry.create("scarf", backbone="table_encoder", input_shape=(14,))
    assert isinstance(model.backbone, TableEncoder)
    widths = [m.out_features for m in model.backbone.modules() if isinstance(m, nn.Linear)]
    assert widths == [256] * 4
    assert [type(m).__name__ for m in model.heads["projection_head"]] == ["Linear", "ReLU", "Linear"]
    assert [m.weight.shape for m in model.heads["projection_head"] if isinstance(m, nn.Linear)] == [(256, 256)] * 2
    config = SCARF.Config()
    assert (config.corruption_rate, config.temperature) == (0.6, 1.0)
    assert (config.optimizer, config.learning_rate, config.weight_decay) == ("adam", 1e-3, 0.0)


def test_too_few_features_are_refused():
    """Nothing would be replaced, and each row would look for itself."""
    with pytest.raises(ConfigError, match=r"corruption_rate=0.6 of 1 features replaces none"):
        make(1)
    with pytest.raises(ConfigError, match=r"at least 1/5"):
        make(corruption_rate=0.1)


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 64)])
def test_tables_alone(shape):
    """Images and signals are refused before anything is built."""
    with pytest.raises(ConfigError, match=r"does not take (images|signals)"):
        registry.create("scarf", backbone=nn.Flatten(), input_shape=shape)


@pytest.mark.parametrize("check", method_checks("scarf", options=SMALL, slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
