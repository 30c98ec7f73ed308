"""The method under test gets a backbone of the kind that it needs, in this process and in others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ssl_registry import MethodConfig, Needs, Registry, hookimpl
from ssl_registry.errors import ConfigError
from ssl_registry.model.backbones import has_tokens
from ssl_registry.nn import tokens
from ssl_registry.testing import NotApplicable, check_method
from ssl_registry.testing.fixtures import SHAPES, tiny_backbone
from ssl_registry.testing.remote import describe, rebuild
from ssl_registry.testing.subject import Subject


class OnTokens:
    """Something on tokens, of images alone (arXiv:2111.06377)."""

    needs = Needs(modalities=("image",), tokens=True)

    class Config(MethodConfig):
        """No options."""

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim):
        return {"head": nn.Linear(feature_dim, 2)}

    @hookimpl
    def compute_loss(self, model, views):
        return model.heads["head"](model(views[0])).square().mean()


@pytest.fixture
def subject():
    registry = Registry(entry_points=False)
    registry.register("on-tokens", OnTokens)
    return Subject("on-tokens", registry)


def test_a_method_on_tokens_gets_them(subject):
    """Here, and where another process builds the subject again."""
    assert has_tokens(subject.model().backbone)
    assert has_tokens(rebuild(describe(subject)).model().backbone)


def test_what_a_method_does_not_take_is_no_failure(subject):
    """Its needs say so, before anything is built."""
    assert subject.modality == "image"
    assert "does not take signals" in subject.support["signal"]


def test_checks_run_on_tokens(subject):
    """Those that build a backbone of another width or shape too."""
    checks = ["construction", "odd_sizes"]
    assert [result.status for result in check_method("on-tokens", only=checks, registry=subject.registry)] == [
        "passed",
        "passed",
    ]


@pytest.mark.parametrize("modality", ["image", "signal", "table"])
def test_tiny_backbones_with_tokens(modality):
    """They map samples of their shape to vectors, as all backbones do, and their tokens can be hidden."""
    network = tiny_backbone(SHAPES[modality], tokens=True)
    assert has_tokens(network)
    x, few = torch.zeros(2, *SHAPES[modality]), torch.tensor([[0, 2], [1, 3]])
    assert network(x).ndim == 2
    assert tokens(network, x, keep=few).patches.shape[:2] == (2, 2)


@pytest.fixture
def named():
    registry = Registry(entry_points=False)
    registry.register("on-tokens", OnTokens)
    small = {"embed_dim": 24, "depth": 1, "num_heads": 2}
    options = {"backbone": "vit_tiny_patch16_224", "backbone_kwargs": small, "image_size": 32, "in_chans": 3}
    return Subject("on-tokens", registry, options)


def test_a_named_backbone_takes_the_tiny_ones_place(named):
    """With images of the size and channels that were asked for; other processes build it too."""
    for subject in (named, rebuild(describe(named))):
        model = subject.model()
        assert type(model.backbone).__name__ == "VisionTransformer"
        assert (model.input_shape, model.feature_dim) == ((3, 32, 32), 24)
        assert subject.batch(count=2).shape == (2, 3, 32, 32)
        subject.fit(model, max_steps=1)


def test_its_width_is_its_own(named):
    """A check of other widths has nothing to look at."""
    (result,) = check_method("on-tokens", only=["odd_sizes"], registry=named.registry, options=named.options)
    assert (result.status, result.reason) == ("skipped", "the backbone is vit_tiny_patch16_224, whose width is its own")


def test_arguments_of_no_backbone():
    """They belong to one."""
    registry = Registry(entry_points=False)
    registry.register("on-tokens", OnTokens)
    with pytest.raises(ConfigError, match="pooling belongs to a backbone by name; add backbone="):
        Subject("on-tokens", registry, {"pooling": "flatten"})


class Rival(OnTokens):
    """Another method of a name that is installed too (arXiv:2111.06377)."""


def test_other_processes_take_the_class_of_the_registry():
    """Not the installed method of that name, nor a class that they cannot import."""
    registry = Registry(entry_points=False)
    registry.register("byol", Rival)
    assert rebuild(describe(Subject("byol", registry))).method_class is Rival
    registry.register("byol", type("Unknown", (OnTokens,), {"__doc__": "Made at run time."}))
    with pytest.raises(NotApplicable, match="has no such Unknown"):
        describe(Subject("byol", registry))
