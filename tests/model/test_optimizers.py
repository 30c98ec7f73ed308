"""Optimizers: fused where that is the same arithmetic in one pass, and only there; torch's classes are torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from ssl_registry import MethodConfig, registry
from ssl_registry.model.optimizers import build_optimizer, default_param_groups


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double()


def build(model: nn.Module, name: str | type, **options):
    config = MethodConfig(optimizer=name, learning_rate=0.1, weight_decay=0.01, optimizer_kwargs=options)
    return build_optimizer(default_param_groups([model]), config)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "momentum", "nesterov"])
def test_fused_steps_are_the_plain_ones(name):
    """Five steps of the fused form and of the plain one, in float64."""
    model = network()
    twin = copy.deepcopy(model)
    fused, plain = build(model, name), build(twin, name, fused=False, foreach=False)
    assert [bool(group.get("fused")) for group in fused.param_groups] == [True, True]
    for _ in range(5):
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            ours.grad = torch.randn_like(ours)
            theirs.grad = ours.grad.clone()
        fused.step()
        plain.step()
    torch.testing.assert_close(list(model.parameters()), list(twin.parameters()))


@pytest.mark.parametrize("name", ["lars", "lamb", "rmsprop", "nadam", "nadamw"])
def test_others_stay_as_they_are(name):
    """Optimizers without a fused form are built without the word."""
    assert not any(group.get("fused") for group in build(network(), name).param_groups)


@pytest.mark.parametrize("options", [{"fused": False}, {"foreach": True}])
def test_the_user_decides(options):
    """What optimizer_kwargs says of the form is kept."""
    (group, _) = build(network(), "adamw", **options).param_groups
    assert {key: group[key] for key in options} == options
    assert not group["fused"]


def test_parameters_elsewhere_are_not_fused():
    """Parameters that are not on a CPU or on CUDA get the plain form."""
    assert not any(group["fused"] for group in build(network().to("meta"), "adam").param_groups)


@pytest.mark.parametrize(
    ("precision", "clip", "fused"),
    [
        ("32-true", None, True),
        ("32-true", 1.0, True),
        ("bf16-mixed", None, True),
        ("bf16-mixed", 1.0, False),
        ("16-mixed", None, False),
        ("16-mixed", 1.0, False),
    ],
)
def test_where_lightning_refuses_it_is_not_fused(precision, clip, fused, monkeypatch):
    """Under a gradient scaler callbacks would see scaled gradients; mixed precision clips no fused optimizer's."""
    model = registry.create("byol", backbone=nn.Linear(4, 3), input_shape=(4,), hidden_dim=4, projection_dim=2)
    monkeypatch.setattr(Trainer, "precision", precision)
    model.trainer = Trainer(accelerator="cpu", logger=False, gradient_clip_val=clip)
    assert [bool(group["fused"]) for group in model.configure_optimizers().param_groups] == [fused, fused]


@pytest.mark.parametrize(("name", "cls"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_adam_is_torchs(name, cls):
    """No class of our own stands between a name and torch's optimizer."""
    assert type(build(network(), name)) is cls


class Sharded(torch.Tensor):
    """Stand in for a DTensor: a tensor of a class of its own."""


def test_sharded_parameters_are_not_fused():
    """They have no fused SGD."""
    parameter = nn.Parameter(torch.zeros(2, 2).as_subclass(Sharded))
    assert type(parameter) is Sharded
    optimizer = build_optimizer([{"params": [parameter]}], MethodConfig(optimizer="sgd"))
    assert not optimizer.param_groups[0].get("fused")


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adam])
def test_a_class_of_torch_has_the_defaults_of_torch(cls):
    """timm's name for SGD is Nesterov's with a momentum of 0.9; who gives torch's class does not ask for that."""
    built = build(network(), cls, foreach=False)
    own = cls(network().parameters(), lr=0.1, weight_decay=0.01, foreach=False)
    assert (type(built), built.defaults) == (cls, own.defaults)


def test_arguments_of_a_class_of_torch_win():
    """What the user gives comes before either's defaults."""
    defaults = build(network(), torch.optim.SGD, momentum=0.8, nesterov=True).defaults
    assert (defaults["momentum"], defaults["nesterov"]) == (0.8, True)
