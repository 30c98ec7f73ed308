"""The lean Adam is torch's, bit for bit: ordinary steps by the fused operator, all others by torch's own step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim import Adam, AdamW

from ssl_registry import lean_adam
from ssl_registry.lean_adam import LeanAdam, LeanAdamW

KINDS = [(LeanAdam, Adam), (LeanAdamW, AdamW)]


def pair(lean, torchs, **options):
    """The same network under both, with and without weight decay."""
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))]
    models.append(copy.deepcopy(models[0]))
    found = []
    for cls, model in zip((lean, torchs), models, strict=True):
        decay, rest = ([p for p in model.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
        groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest}]
        found.append(cls(groups, **{"lr": 0.01, "weight_decay": 0.0, "fused": True, **options}))
    return models, found


def train(models, optimizers, steps, *, resting=None, closure=False):
    """The same random gradients for both; ``resting(step)`` names parameters that get none."""
    for step in range(steps):
        grads = [torch.randn_like(p) for p in models[0].parameters()]
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()

            def gradients(model=model, step=step, grads=grads):
                for (name, p), grad in zip(model.named_parameters(), grads, strict=True):
                    p.grad = None if resting and name in resting(step) else grad.clone()
                assert torch.is_grad_enabled()
                return step

            if closure:
                assert optimizer.step(gradients) == step
            else:
                gradients()
                assert optimizer.step() is None


def assert_same(models, optimizers):
    for mine, theirs in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(mine, theirs)
    mine, theirs = (optimizer.state_dict() for optimizer in optimizers)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{}, {"maximize": True}, {"betas": (0.5, 0.6), "eps": 1e-3}])
@pytest.mark.parametrize(("lean", "torchs"), KINDS)
@pytest.mark.parametrize("closure", [False, True])
def test_ordinary_steps(lean, torchs, closure, options, monkeypatch):
    """Behind the first step, which makes the state, torch's own is not called."""
    models, optimizers = pair(lean, torchs, **options)
    train(models, optimizers, 1, closure=closure)
    monkeypatch.delattr(lean_adam, "_step_of_torch")
    train(models, optimizers, 4, closure=closure)
    assert_same(models, optimizers)


@pytest.mark.parametrize(("lean", "torchs"), KINDS)
def test_parameters_without_a_gradient_rest(lean, torchs):
    """Those that wake up later begin their count then, and a step without any changes nothing."""
    names = {"0.weight", "0.bias", "1.weight", "1.bias"}
    rests = [{"0.weight"}, set(), {"1.weight", "1.bias"}, names, set()]
    models, optimizers = pair(lean, torchs)
    train(models, optimizers, len(rests), resting=rests.__getitem__)
    assert_same(models, optimizers)


@pytest.mark.parametrize(("lean", "torchs"), KINDS)
def test_either_goes_on_from_the_others_state(lean, torchs):
    """A state dict of one is one of the other."""
    models, optimizers = pair(lean, torchs)
    train(models, optimizers, 2)
    states = [copy.deepcopy(optimizer.state_dict()) for optimizer in optimizers]
    _, fresh = pair(lean, torchs)
    for optimizer, model in zip(fresh, models, strict=True):
        for group, old in zip(optimizer.param_groups, (True, False), strict=True):
            group["params"] = [p for p in model.parameters() if (p.ndim > 1) is old]
    for optimizer, state in zip(fresh, reversed(states), strict=True):
        optimizer.load_state_dict(state)
    train(models, fresh, 2)
    assert_same(models, fresh)


@pytest.mark.parametrize(
    "options", [{"amsgrad": True}, {"lr": torch.tensor(0.01)}, {"fused": False}, {"fused": None, "foreach": True}]
)
def test_what_is_not_ordinary_is_torchs(options):
    """Further options go through torch's own step."""
    models, optimizers = pair(LeanAdam, Adam, **options)
    train(models, optimizers, 3)
    assert_same(models, optimizers)


def test_two_types_in_a_group():
    """Parameters of one group may differ in type."""
    models, optimizers = pair(LeanAdam, Adam)
    for model in models:
        model[1].to(torch.float64)
    train(models, optimizers, 3)
    assert_same(models, optimizers)


def test_a_gradient_scaler_is_heard():
    """What it scaled is scaled back, and a step with an overflow is left out."""
    models, optimizers = pair(LeanAdam, Adam)
    for overflow in (False, False, True, False):
        grads = [torch.randn_like(p) for p in models[0].parameters()]
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.grad_scale = torch.tensor(8.0)
            optimizer.found_inf = torch.tensor(float(overflow))
            for p, grad in zip(model.parameters(), grads, strict=True):
                p.grad = 8 * grad
            optimizer.step()
            del optimizer.grad_scale, optimizer.found_inf
    assert_same(models, optimizers)


def test_hooks_are_called_once():
    """Also where torch's own step does the work."""
    calls = []
    for options in ({}, {"amsgrad": True}):
        models, optimizers = pair(LeanAdam, Adam, **options)
        optimizers[0].register_step_pre_hook(lambda *_: calls.append("before"))
        optimizers[0].register_step_post_hook(lambda *_: calls.append("behind"))
        train(models, optimizers, 2)
    assert calls == ["before", "behind"] * 4
