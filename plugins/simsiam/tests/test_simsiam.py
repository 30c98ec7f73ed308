"""SimSiam: the loss and where its gradient stops, the heads, and the predictor's learning rate."""

from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_simsiam import SimSiam
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import hookimpl, registry
from ssl_registry.testing import method_checks

SMALL = {"hidden_dim": 16, "projection_dim": 8, "bottleneck_dim": 4}


def make(**options):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))
    return registry.create("simsiam", backbone=backbone, input_shape=(5,), seed=0, **SMALL | options)


def fit(model, **arguments):
    trainer = Trainer(
        **{"max_epochs": 1} | arguments,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(torch.randn(24, 5, generator=torch.Generator().manual_seed(0)), batch_size=4))
    return trainer


class Rates:
    """Notes each group's learning rate in each step, as the optimizer had it."""

    def __init__(self):
        self.steps = []

    @hookimpl
    def on_step_end(self, model, ctx):
        self.steps.append({group["name"]: group["applied"] for group in model.trainer.optimizers[0].param_groups})


@pytest.fixture
def rates(monkeypatch):
    """Let each group of SGD remember the rate that its last step was made with."""
    plain = torch.optim.SGD.step

    def step(self, closure=None):
        loss = plain(self, closure)
        for group in self.param_groups:
            group["applied"] = group["lr"]
        return loss

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    return Rates()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_predictors_learning_rate_stays(rates, accumulate):
    """All others follow warm-up and cosine, step by step; the predictor is at the peak from the first to the last."""
    model = make(observers=[rates], lr_schedule="cosine", warmup_steps=1, learning_rate=0.1)
    fit(model, accumulate_grad_batches=accumulate)
    steps = 6 // accumulate
    cosine = [0.05] + [0.05 * (1 + math.cos(math.pi * k / (steps - 1))) for k in range(steps - 1)]
    assert len(rates.steps) == steps
    for found, expected in zip(rates.steps, cosine, strict=True):
        assert found["decay"] == found["no_decay"] == pytest.approx(expected)
        assert found["predictor_decay"] == found["predictor_no_decay"] == 0.1


def test_predictors_learning_rate_may_follow(rates):
    """With `fix_predictor_lr=False` there are the default groups alone."""
    fit(make(observers=[rates], lr_schedule="cosine", fix_predictor_lr=False))
    assert set(rates.steps[0]) == {"decay", "no_decay"}
    assert rates.steps[-1]["decay"] < rates.steps[0]["decay"]


def test_every_parameter_is_in_one_group():
    """Those of the predictor in its own, its bias and norm without weight decay."""
    model = make()
    trainer = fit(model)
    groups = {group["name"]: group for group in trainer.optimizers[0].param_groups}
    members = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in model.parameters())
    own = {id(p) for name in groups if name.startswith("predictor") for p in groups[name]["params"]}
    assert own == {id(p) for p in model.heads["prediction_head"].parameters()}
    assert groups["predictor_no_decay"]["weight_decay"] == 0
    assert groups["predictor_decay"]["weight_decay"] == 1e-4


@pytest.mark.parametrize("predictor", [nn.Identity(), nn.Linear(8, 8, bias=False)])
def test_predictor_with_few_parameters(predictor):
    """None at all, or none without decay: the run goes on."""
    fit(make(prediction_head=predictor, lr_schedule="cosine"))


def test_loss_is_the_papers():
    """Equations 1 and 2, in float64."""
    model = make()
    views = [torch.randn(6, 5), torch.randn(6, 5)]
    found = model.hook.compute_loss(model=model, views=views, ctx=None)
    z = [model.method.forward(model, view) for view in views]
    p = [model.heads["prediction_head"](value) for value in z]
    expected = 0.0
    for prediction, target in ((p[0], z[1]), (p[1], z[0])):
        a, b = prediction.double(), target.double()
        expected -= ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean().item() / 2
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_gradient_stops_at_the_targets():
    """The gradient is that of predictions towards constants."""
    model = make()
    views = [torch.randn(6, 5), torch.randn(6, 5)]
    z = [model.method.forward(model, view) for view in views]
    constants = [value.detach().clone() for value in z]
    p = [model.heads["prediction_head"](value) for value in z]
    similarity = nn.CosineSimilarity()
    expected = -0.5 * (similarity(p[0], constants[1]).mean() + similarity(p[1], constants[0]).mean())
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    wanted = torch.autograd.grad(expected, weights)
    found = torch.autograd.grad(model.hook.compute_loss(model=model, views=views, ctx=None), weights)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)
    assert max(grad.abs().max() for grad in found) > 1e-3


def test_default_heads_are_the_papers():
    """Three layers of 2048 with a BatchNorm behind each, the last without scale and shift; a bottleneck of 512."""
    model = registry.create("simsiam", backbone=nn.Linear(5, 6), input_shape=(5,))
    head, predictor = model.heads["projection_head"], model.heads["prediction_head"]
    assert [type(m).__name__ for m in head] == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert [(m.in_features, m.out_features, m.bias) for m in head if isinstance(m, nn.Linear)] == [
        (6, 2048, None),
        (2048, 2048, None),
        (2048, 2048, None),
    ]
    assert [m.affine for m in head if isinstance(m, nn.BatchNorm1d)] == [True, True, False]
    assert [type(m).__name__ for m in predictor] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [(m.in_features, m.out_features, m.bias is None) for m in predictor if isinstance(m, nn.Linear)] == [
        (2048, 512, True),
        (512, 2048, False),
    ]


def test_default_optimizer_is_sgd_with_momentum():
    """As the paper's."""
    group = fit(make(), max_steps=1).optimizers[0].param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.05, 0.9, False, 1e-4)


def test_views_are_alike():
    """Crops from a fifth of the image on, colors as strong as MoCo v2's."""
    (view,) = SimSiam(SimSiam.Config()).build_views(224).views
    assert (view.copies, view.crop_scale, view.saturation, view.hue, view.blur) == (2, (0.2, 1.0), 0.4, 0.1, 0.5)


@pytest.mark.parametrize("check", method_checks("simsiam", options=SMALL, slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
