"""The method under test gets a backbone of the kind that it needs, in this process and in others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ssl_registry import MethodConfig, Needs, Registry, hookimpl
from ssl_registry.model.backbones import has_tokens
from ssl_registry.testing import check_method
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


@pytest.mark.parametrize("modality", ["image", "signal"])
def test_tiny_backbones_with_tokens(modality):
    """They map samples of their shape to vectors, as all backbones do."""
    network = tiny_backbone(SHAPES[modality], tokens=True)
    assert has_tokens(network)
    assert network(torch.zeros(2, *SHAPES[modality])).ndim == 2
