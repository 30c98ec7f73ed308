"""BYOL: what the paper says of target, momentum and heads, and the traps that others fell into."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_byol import BYOL, NegativeCosineSimilarity
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import hookimpl, registry

SMALL = {"hidden_dim": 16, "projection_dim": 8}


def backbone():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))


def make(**options):
    return registry.create("byol", backbone=backbone(), input_shape=(5,), seed=0, **SMALL | options)


def fit(model, **arguments):
    data = DataLoader(torch.randn(24, 5, generator=torch.Generator().manual_seed(0)), batch_size=4)
    trainer = Trainer(
        **{"max_epochs": 2} | arguments,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    return trainer


class Replay:
    """Computes the target anew from the online weights of every step, with the paper's formula."""

    def __init__(self, schedule=None, start=0.996):
        self.schedule, self.start, self.target, self.momenta = schedule, start, None, []

    @hookimpl
    def on_fit_start(self, model):
        if self.target is None:
            self.target = [p.detach().clone() for p in model.heads["target"].parameters()]

    @hookimpl(trylast=True)
    def on_step_end(self, model, ctx):
        k, length = ctx.step - 1, self.schedule or ctx.max_steps
        momentum = 1 - (1 - self.start) * (math.cos(math.pi * min(k / length, 1)) + 1) / 2
        self.momenta.append(momentum)
        online = [*model.backbone.parameters(), *model.heads["projection_head"].parameters()]
        self.target = [momentum * t + (1 - momentum) * p.detach() for t, p in zip(self.target, online, strict=True)]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, {}),
        ({}, {"accumulate_grad_batches": 3}),
        ({"schedule": 5}, {}),
        ({"momentum": 0.5}, {"max_steps": 1, "max_epochs": -1}),
    ],
)
def test_target_is_the_papers_moving_average(options, arguments):
    """By optimizer steps, whatever the accumulation; over the run or `schedule`; constant past its end."""
    replay = Replay(options.get("schedule"), options.get("momentum", 0.996))
    model = make(observers=[replay], learning_rate=0.05, **options)
    fit(model, **arguments)
    for ours, expected in zip(model.heads["target"].parameters(), replay.target, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)
    assert replay.momenta == sorted(replay.momenta)


def test_momentum_cycles_with_a_period():
    """`period` is honoured: the momentum returns to its start."""
    method = BYOL(BYOL.Config(momentum=0.9, period=10))
    assert method.momentum_at(0, None) == method.momentum_at(10, None) == pytest.approx(0.9)
    assert method.momentum_at(5, None) == pytest.approx(1.0)


def test_momentum_without_a_known_end_is_constant():
    """A run without a limit has no half cosine."""
    assert BYOL(BYOL.Config()).momentum_at(10**6, None) == 0.996


def test_target_gets_no_gradient_and_no_place_in_the_optimizer():
    """It follows; it is never trained."""
    model = make()
    trainer = fit(model)
    optimized = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert not any(id(p) in optimized or p.requires_grad for p in model.heads["target"].parameters())
    assert all(p.grad is None for p in model.heads["target"].parameters())


def test_target_keeps_its_own_batch_statistics():
    """It runs in train mode, so its statistics move, and they are not the online network's."""
    model = make(momentum=0.0, learning_rate=0.5)
    fit(model)
    online, target = model.backbone[1], model.heads["target"][0][1]
    assert target.num_batches_tracked == 24
    assert not torch.equal(online.running_mean, target.running_mean)


def test_loss_is_the_papers_up_to_scale_and_offset():
    """Both directions of 2 - 2 cos, averaged, is twice the loss plus two."""
    model = make()
    views = [torch.randn(4, 5), torch.randn(4, 5)]
    loss = model.hook.compute_loss(model=model, views=views, ctx=None)
    reference = 0.0
    for x, y in (views, views[::-1]):
        p = model.method.forward(model, x).double()
        z = model.method.forward_momentum(model, y).double()
        reference = (
            reference + (p / p.norm(dim=1, keepdim=True) - z / z.norm(dim=1, keepdim=True)).square().sum(1).mean()
        )
    assert loss.item() == pytest.approx(reference.item() / 4 - 1, abs=1e-5)


def test_forward_and_forward_momentum():
    """Prediction of the online network, projection of the target; the second without gradient."""
    model = make()
    x = torch.randn(4, 5)
    assert model.method.forward(model, x).shape == (4, 8)
    assert model.method.forward(model, x).requires_grad
    assert not model.method.forward_momentum(model, x).requires_grad


def test_default_heads_are_the_papers():
    """Linear, BatchNorm, ReLU, Linear; hidden 4096, output 256, width from the backbone."""
    model = registry.create("byol", backbone=backbone(), input_shape=(5,))
    linear = [m for m in model.heads["projection_head"] if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(6, 4096), (4096, 256)]
    linear = [m for m in model.heads["prediction_head"] if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(256, 4096), (4096, 256)]
    for name in ("projection_head", "prediction_head"):
        head = model.heads[name]
        assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert (head[0].bias is None, head[3].bias is None) == (True, False)


def test_default_optimizer_is_adam_with_slight_decay():
    """As the interface documents it."""
    trainer = fit(make())
    assert isinstance(trainer.optimizers[0], torch.optim.Adam)
    assert trainer.optimizers[0].param_groups[0]["weight_decay"] == 1e-6


def test_optimizer_by_class_and_arguments():
    """A class of torch.optim with its arguments takes the place."""
    trainer = fit(make(optimizer=torch.optim.RMSprop, optimizer_kwargs={"momentum": 0.9}, learning_rate=0.01))
    assert (
        isinstance(trainer.optimizers[0], torch.optim.RMSprop) or "rms" in type(trainer.optimizers[0]).__name__.lower()
    )
    assert trainer.optimizers[0].param_groups[0]["momentum"] == 0.9
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("name", ["projection_head", "prediction_head", "criterion", "target"])
def test_heads_are_replaced_by_name(name):
    """Each of the four, an empty Sequential among them, which is falsy."""
    given = {
        "projection_head": nn.Sequential(),
        "prediction_head": nn.Linear(8, 8),
        "criterion": NegativeCosineSimilarity(dim=1),
        "target": nn.Sequential(backbone(), nn.Linear(6, 8)),
    }[name]
    options = {"projection_dim": 6} if name == "projection_head" else {}
    if name == "target":
        options["projection_head"] = nn.Linear(6, 8)
    assert make(**{name: given}, **options).heads[name] is given


def test_target_starts_as_a_copy():
    """The same weights, other tensors."""
    model = make()
    online = [*model.backbone.parameters(), *model.heads["projection_head"].parameters()]
    for ours, theirs in zip(model.heads["target"].parameters(), online, strict=True):
        assert torch.equal(ours, theirs)
        assert ours is not theirs


def test_views_are_unequal():
    """Blur always and solarisation never, and the other way about, on images large enough to blur."""
    recipe = BYOL(BYOL.Config()).build_views(224)
    assert [(view.blur, view.solarize) for view in recipe.views] == [(1.0, 0.0), (0.1, 0.2)]
    assert all(view.blur == 0 for view in BYOL(BYOL.Config()).build_views(32).views)


def test_copy_moves_its_own_target():
    """A deep copy's momentum update leaves the original alone."""
    model = make()
    twin = copy.deepcopy(model)
    before = [p.clone() for p in model.heads["target"].parameters()]
    fit(twin, max_epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.heads["target"].parameters(), strict=True))
