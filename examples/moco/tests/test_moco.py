"""MoCo: its loss and queue against the paper, and a queue that survives everything."""

from __future__ import annotations

import copy

import pytest
import torch
from ssl_registry_moco import MoCo
from torch.nn import functional as F

from ssl_registry import Registry
from ssl_registry.testing import method_checks

SMALL = {"queue_size": 100, "hidden_dim": 16, "projection_dim": 8}
REGISTRY = Registry(entry_points=False)
REGISTRY.register("moco", MoCo)


def views(count=6):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(count, 1, 16, 16, generator=generator) for _ in range(2)]


@pytest.fixture
def loss_of(ctx):
    def loss_of(model, x=None):
        return model.hook.compute_loss(model=model, views=views() if x is None else x, ctx=ctx)

    return loss_of


def test_v2_is_the_papers_equation(make, loss_of):
    """InfoNCE of each query over its own key and the queue, computed by hand."""
    model = make(MoCo, temperature=0.3, **SMALL)
    queue = model.heads["queue"].values.double()
    loss = loss_of(model).detach()
    q, k = MoCo.query(model, views()[0]).detach().double(), MoCo.key(model, views()[1]).double()
    rows = []
    for i in range(6):
        positive, negatives = (q[i] @ k[i] / 0.3).exp(), (queue @ q[i] / 0.3).exp().sum()
        rows.append(-torch.log(positive / (positive + negatives)))
    assert float(loss) == pytest.approx(float(torch.stack(rows).mean()), abs=1e-5)


def test_v3_is_symmetric_over_the_batch(make, loss_of):
    """Both directions, with the batch's other keys as negatives."""
    model = make(MoCo, version="v3", **SMALL)
    (a, b), (x, y) = [MoCo.query(model, v) for v in views()], [MoCo.key(model, v) for v in views()]
    expected = F.cross_entropy(a @ y.T / 0.2, torch.arange(6)) + F.cross_entropy(b @ x.T / 0.2, torch.arange(6))
    torch.testing.assert_close(loss_of(model), expected)
    assert "queue" not in model.heads


def test_queue_moves_once_a_step(make, fit):
    """Four micro-batches of 16 are one step, and 64 keys."""
    model = make(MoCo, **SMALL)
    fit(model, max_steps=1, batch_size=16, accumulate_grad_batches=4)
    assert int(model.heads["queue"].enqueued) == 64


def test_validation_leaves_the_queue_alone(make, fit, loss_of):
    """Keys of held-out samples are no negatives."""
    model = make(MoCo, **SMALL)
    before = copy.deepcopy(model.heads["queue"].state_dict())
    model.eval()
    loss_of(model)
    assert model.heads["queue"].collector.take() is None
    model.train()
    fit(model, max_epochs=1, limit_train_batches=2, limit_val_batches=2, batch_size=16)
    assert int(model.heads["queue"].enqueued) == 32
    assert not torch.equal(before["values"], model.heads["queue"].values)


def test_target_gets_no_gradient(make, loss_of):
    """Keys are computed without gradient."""
    model = make(MoCo, **SMALL)
    loss_of(model).backward()
    assert all(p.grad is None for p in model.heads["target"].parameters())
    assert all(p.grad is not None for p in model.backbone.parameters())


def test_momentum_of_both_versions():
    """Constant in v2; in v3 to 1 along half a cosine."""
    v2, v3 = (MoCo(MoCo.Config(version=version, momentum=0.9)) for version in ("v2", "v3"))
    assert v2.momentum_at(50, 100) == 0.9
    assert [v3.momentum_at(step, 100) for step in (0, 50, 100)] == [0.9, pytest.approx(0.95), 1.0]


@pytest.mark.parametrize(("version", "rate", "left"), [("v2", 1e-3, 0.95), ("v3", 1e-2, 0.9)])
def test_trains_on_digits(version, rate, left, learns):
    """Sixty steps bring the loss down; the queue holds one batch, so that it is filled at once."""
    options = SMALL | {"queue_size": 64, "projection_dim": 16, "momentum": 0.9}
    options |= {"temperature": 0.07} if version == "v2" else {}
    learns(MoCo, rate=rate, left=left, version=version, **options)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_resumes_exactly(resumes):
    """Queue and position included, from every step, under accumulation."""
    resumes(MoCo, **SMALL)


EXPECTED = {
    "accumulation": "three micro-batches bring three times the keys into the queue, as one batch of that size does",
}
OPTIONS = SMALL | {"optimizer": "adamw", "learning_rate": 1e-3}
KIT = {"registry": REGISTRY, "slow": True, "options": OPTIONS, "expected_failures": EXPECTED}


@pytest.mark.slow
@pytest.mark.parametrize("check", method_checks("moco", **KIT))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
