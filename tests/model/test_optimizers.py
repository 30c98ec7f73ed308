"""Optimizers: fused where that is the same arithmetic in one pass, and only there; torch's classes are torch's own."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from lightning.pytorch import Trainer
from timm.optim import param_groups_weight_decay
from torch import nn

from ssl_registry import MethodConfig, registry
from ssl_registry.model.optimizers import build_optimizer, default_param_groups, without_decay


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


@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224"],
)
def test_groups_are_those_of_timm(name):
    """Position embeddings, tokens, norms and biases: what timm itself excludes for its own models."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    excluded = without_decay(model)
    ours = {key for key, p in model.named_parameters() if id(p) in excluded}
    theirs = param_groups_weight_decay(model, 0.1, no_weight_decay_list=model.no_weight_decay())
    wanted = {id(p) for group in theirs if group["weight_decay"] == 0 for p in group["params"]}
    missing = {key for key, p in model.named_parameters() if id(p) in wanted} - ours
    assert not missing
    # timm's own sets leave out registers, of which they say nothing.
    assert ours - {key for key, p in model.named_parameters() if id(p) in wanted} <= {"reg_token"}


class Decoder(nn.Module):
    """Has what decoders have."""

    def __init__(self):
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, 9, 4))
        self.position_embeddings = nn.Embedding(9, 4)
        self.register_tokens = nn.Parameter(torch.zeros(1, 2, 4))
        self.bias = nn.Parameter(torch.zeros(4, 4))
        self.norm = nn.LayerNorm([4, 3, 3])
        self.vocabulary = nn.Embedding(9, 4)
        self.linear = nn.Linear(4, 4)
        self.pos_embed_conv = nn.Conv2d(4, 4, 3)


def test_what_decays():
    """Matrices and kernels; by name, kind and shape all else is left alone."""
    model = Decoder()
    decay, rest = default_param_groups([model])
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in decay["params"]} == {"vocabulary.weight", "linear.weight", "pos_embed_conv.weight"}
    assert (decay["name"], rest["name"], rest["weight_decay"]) == ("decay", "no_decay", 0.0)
    assert len(decay["params"]) + len(rest["params"]) == len(names)


def test_a_shared_parameter_has_one_place():
    """Backbone and head may hold the same; torch refuses a parameter that is named twice."""
    shared = nn.Linear(4, 4)
    groups = default_param_groups([nn.Sequential(shared), nn.ModuleDict({"head": shared})])
    assert sum(len(group["params"]) for group in groups) == 2


def test_a_models_default_groups_are_those_of_its_modules():
    """Of backbone and heads, or of some modules under names of their own."""
    model = registry.create("byol", backbone=nn.Linear(4, 6), input_shape=(4,), hidden_dim=8, projection_dim=4)
    whole = default_param_groups([model.backbone, model.heads])
    assert model.default_param_groups() == whole
    (group, bias) = model.default_param_groups(model.backbone, prefix="own_")
    assert (group["name"], bias["name"], bias["weight_decay"]) == ("own_decay", "own_no_decay", 0.0)
    assert [id(p) for p in group["params"] + bias["params"]] == [id(p) for p in model.backbone.parameters()]
