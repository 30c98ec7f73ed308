"""NNCLR: the loss and its gradients against the paper, and a support set that moves after the step."""

from __future__ import annotations

import copy

import pytest
import torch
from ssl_registry_nnclr import NNCLR
from torch import nn

from ssl_registry.testing import method_checks

SMALL = {"queue_size": 40, "hidden_dim": 16, "prediction_hidden_dim": 16, "projection_dim": 8}


def views(count=6):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(count, 1, 16, 16, generator=generator) for _ in range(2)]


@pytest.fixture
def loss_of(ctx):
    def loss_of(model):
        return model.hook.compute_loss(model=model, views=views(), ctx=ctx)

    return loss_of


def unit(x):
    x = x.detach().double()
    return x / x.norm(dim=1, keepdim=True)


def test_loss_is_the_papers_equation(make, loss_of):
    """A sample at a time in float64: the nearest of the queue by cosine finds the other view's prediction."""
    model = make(NNCLR, temperature=0.3, **SMALL)
    queue = unit(model.heads["queue"].values)
    z = [NNCLR.project(model, view) for view in views()]
    p = [unit(model.heads["prediction_head"](x)) for x in z]
    z = [unit(x) for x in z]
    losses = []
    for a, b in ((0, 1), (1, 0)):
        for i in range(6):
            nearest = queue[max(range(40), key=lambda k: float(queue[k] @ z[a][i]))]
            scores = [(nearest @ p[b][j] / 0.3).exp() for j in range(6)]
            losses.append(-torch.log(scores[i] / sum(scores)))
    assert loss_of(model).item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-5)


def test_gradient_flows_through_predictions_alone(make, loss_of):
    """All that is trained has one, and a prediction head that passes none on leaves the rest without."""
    model = make(NNCLR, **SMALL)
    loss_of(model).backward()
    assert all(p.grad is not None for p in model.parameters())

    class Stop(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x.detach() * self.scale

    model = make(NNCLR, prediction_head=Stop(), **SMALL)
    loss_of(model).backward()
    assert all(p.grad is None for p in model.backbone.parameters())


def test_support_set_moves_after_the_step(make, fit, loss_of):
    """The loss reads what was there before; three micro-batches of 8 are 24 projections, of the first view."""
    model = make(NNCLR, **SMALL)
    before = model.heads["queue"].values.clone()
    loss_of(model)
    assert torch.equal(before, model.heads["queue"].values)
    collected = model.heads["queue"].collector.take()
    torch.testing.assert_close(collected.double(), unit(NNCLR.project(model, views()[0])), atol=1e-6, rtol=1e-5)
    fit(model, max_steps=1, batch_size=8, accumulate_grad_batches=3)
    assert int(model.heads["queue"].enqueued) == 24
    assert torch.equal(before[24:], model.heads["queue"].values[24:])


def test_validation_leaves_the_support_set_alone(make, fit):
    """Held-out samples are nobody's neighbors."""
    model = make(NNCLR, **SMALL)
    fit(model, max_epochs=1, limit_train_batches=1, limit_val_batches=2, batch_size=16)
    assert int(model.heads["queue"].enqueued) == 16


def test_default_heads_and_support_set_are_the_papers(make):
    """Section 4.1: 2048, 2048, 256 with BatchNorm behind each; 4096, 256 without at the end; 98,304 projections."""
    heads = make(NNCLR).heads
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    projection, prediction = heads["projection_head"], heads["prediction_head"]
    assert [type(part).__name__ for part in projection] == [*hidden, *hidden, "Linear", "BatchNorm1d"]
    assert [type(part).__name__ for part in prediction] == [*hidden, "Linear"]
    widths = [[part.out_features for part in head if isinstance(part, nn.Linear)] for head in (projection, prediction)]
    assert widths == [[2048, 2048, 256], [4096, 256]]
    assert heads["queue"].values.shape == (98304, 256)


def test_half_precision_changes_little(make, loss_of):
    """Under autocast similarities are float32, and so is the support set."""
    model = make(NNCLR, temperature=1.0, **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        half = loss_of(model)
    assert half.dtype == model.heads["queue"].collector.take().dtype == torch.float32
    assert half.isfinite()


def test_views_are_unequal():
    """Blur always and solarization never, and the other way about."""
    policy = NNCLR(NNCLR.Config()).build_views(224)
    assert [(view.blur, view.solarize) for view in policy.views] == [(1.0, 0.0), (0.1, 0.2)]


def test_trains_on_digits(learns):
    """Sixty steps bring the loss down; the support set holds two batches, so that it is filled at once."""
    learns(NNCLR, rate=1e-2, left=0.95, **SMALL | {"queue_size": 128, "projection_dim": 16})


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_resumes_exactly(resumes):
    """Support set included, from every step, under accumulation."""
    resumes(NNCLR, **SMALL | {"optimizer": "adamw", "learning_rate": 1e-3})


def test_a_copy_has_a_support_set_of_its_own(make, fit):
    """What the copy takes in does not reach the original."""
    model = make(NNCLR, **SMALL)
    twin = copy.deepcopy(model)
    fit(twin, max_steps=1, batch_size=8)
    assert int(model.heads["queue"].enqueued) == 0


EXPECTED = NNCLR.declares.fails
OPTIONS = SMALL | {"optimizer": "adamw", "learning_rate": 1e-3}


@pytest.mark.parametrize("check", method_checks("nnclr", slow=True, options=OPTIONS, expected_failures=EXPECTED))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
