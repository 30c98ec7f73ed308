"""What rests in an epoch: gradients, modes, and the optimizer's moments of what wakes again."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import Tiny, fit, make
from torch import nn

from ssl_registry import MethodConfig, hookimpl
from ssl_registry.errors import ContractError
from ssl_registry.model.optimizers import build_optimizer, default_param_groups


def freezing(named):
    """A method that freezes what ``named`` gives in epochs of odd numbers."""

    class Freezing(Tiny):
        @hookimpl
        def frozen_modules(self, ctx):
            return named if ctx.epoch % 2 else set()

    return Freezing


def statistics(cls):
    """Return the running means of the head's norm behind each epoch of two, and whether its weight had a gradient."""
    found = {}

    class Watch:
        @hookimpl
        def on_step_end(self, model, ctx):
            head = model.heads["head"]
            found[ctx.epoch] = head[1].running_mean.clone(), head[0].weight.grad is not None, head[1].training

    fit(make(cls, observers=[Watch()]))
    return found


@pytest.mark.parametrize("named", [{"head"}, {"head": "eval"}])
def test_by_default_what_rests_is_in_eval_mode(named):
    """Statistics stay."""
    first, second = statistics(freezing(named)).values()
    assert torch.equal(first[0], second[0])
    assert (second[1], second[2]) == (False, False)


def test_a_part_without_gradient_may_stay_in_train_mode():
    """BatchNorm's statistics go on; weights do not move."""
    first, second = statistics(freezing({"head": "train"})).values()
    assert not torch.equal(first[0], second[0])
    assert (second[1], second[2]) == (False, True)


def test_a_part_of_it_may_rest_in_eval_mode():
    """The inner name says so of itself alone."""
    modes = []

    class Watch:
        @hookimpl
        def on_step_end(self, model, ctx):
            modes.append((ctx.epoch, [part.training for part in model.heads["head"]]))

    fit(make(freezing({"head": "train", "head.1": "eval"}), observers=[Watch()]))
    assert modes[0] == (0, [True, True, True])
    assert modes[-1] == (1, [True, False, True])


def test_a_part_of_the_backbone_may_rest():
    """What the name leads to alone, in epoch 1, and not in epoch 0."""
    before, moved = {}, {}

    class Watch:
        @hookimpl
        def on_step_end(self, model, ctx):
            now = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
            changed = {name for name in now if name in before and not torch.equal(now[name], before[name])}
            moved.setdefault(ctx.epoch, set()).update(changed)
            before.update(now)

    network = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4))
    fit(make(freezing({"backbone.0"}), backbone=network, observers=[Watch()]))
    assert moved == {0: {"0.weight", "0.bias", "2.weight", "2.bias"}, 1: {"2.weight", "2.bias"}}


def test_the_mode_may_change_between_epochs():
    """What was held in one mode is held in the other."""

    class Changing(Tiny):
        @hookimpl
        def frozen_modules(self, ctx):
            return {"head": "train" if ctx.epoch % 2 else "eval"}

    seen = {}

    class Watch:
        @hookimpl
        def on_step_end(self, model, ctx):
            seen[ctx.epoch] = model.heads["head"][1].training

    model = make(Changing, observers=[Watch()])
    fit(model, max_epochs=3)
    assert seen == {0: False, 1: True, 2: False}
    assert all(part.training for part in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def test_unknown_mode():
    """The two that there are."""
    with pytest.raises(ContractError, match="says 'resting' of 'head'; modes are 'eval' and 'train'"):
        fit(make(freezing({"head": "resting"})))


OPTIMIZERS = ["adam", "adamw", "sgd", "momentum", "lars", "rmsprop"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_rests_at_first_wakes(optimizer):
    """The head does not move in the first epoch, and does in the second."""

    class Late(Tiny):
        @hookimpl
        def frozen_modules(self, ctx):
            return {"head"} if ctx.epoch == 0 else set()

    before, between = {}, {}

    class Watch:
        @hookimpl
        def on_step_end(self, model, ctx):
            if ctx.step == 6:
                between.update({key: value.clone() for key, value in model.heads.state_dict().items()})

    model = make(Late, optimizer=optimizer, learning_rate=0.01, observers=[Watch()])
    before.update({key: value.clone() for key, value in model.heads.state_dict().items()})
    fit(model)
    assert all(torch.equal(before[key], value) for key, value in between.items())
    assert not torch.equal(before["head.0.weight"], model.heads["head"][0].weight)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_optimizer_is_one_for_each_phase(optimizer, dtype):
    """Two networks that train in turn have, under one optimizer, the steps of two: moments of what rests are kept."""
    torch.manual_seed(0)
    parts = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]).to(dtype)
    twins = copy.deepcopy(parts)
    config = MethodConfig(optimizer=optimizer, learning_rate=0.1, weight_decay=0.01)
    both = build_optimizer(default_param_groups([parts]), config)
    apart = [build_optimizer(default_param_groups([twin]), config) for twin in twins]
    for step in range(8):
        x, active = torch.randn(4, 3, dtype=dtype), (step // 2) % 2
        for networks, optimizers in ((parts, [both]), (twins, [apart[active]])):
            for number, network in enumerate(networks):
                network.requires_grad_(number == active)
                network.zero_grad(set_to_none=True)
            networks[1](networks[0](x)).square().sum().backward()
            for each in optimizers:
                each.step()
    for ours, theirs in zip(parts.parameters(), twins.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert not torch.equal(parts[1].weight, nn.Linear(3, 3).weight)


def test_a_damped_momentum_is_not_fused():
    """Its first step is another, which a momentum of zero does not make; it trains all the same."""
    cls = freezing({"head"})
    model = make(cls, optimizer="momentum", optimizer_kwargs={"dampening": 0.5})
    trainer = fit(model, max_epochs=3)
    assert not any(group["fused"] for group in trainer.optimizers[0].param_groups)
