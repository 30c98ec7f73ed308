"""`product`: the network that everything after training works on."""

from __future__ import annotations

import copy
from copy import deepcopy

import pytest
import torch
from tiny import Tiny, fit, make
from torch import nn

from ssl_registry import hookimpl
from ssl_registry.errors import ConfigError, ContractError
from ssl_registry.nn import deactivate_requires_grad, update_momentum


class Taught(Tiny):
    """A student and its teacher, which is the product."""

    @hookimpl
    def build_heads(self, backbone, feature_dim):
        head = nn.Linear(feature_dim, 2)
        target = nn.Sequential(deepcopy(backbone), deepcopy(head))
        deactivate_requires_grad(target)
        return {"head": head, "target": target}

    @hookimpl
    def on_step_end(self, model):
        update_momentum([model.backbone, model.heads["head"]], model.heads["target"], 0.9)

    @hookimpl
    def product(self, model):
        return model.heads["target"][0]


def returning(choose):
    """A method whose hook returns what ``choose`` makes of the model."""

    class Other(Taught):
        @hookimpl
        def product(self, model):
            return choose(model)

    return make(Other)


def test_the_default_is_the_backbone():
    """A method without the hook has one network."""
    model = make(Tiny)
    assert model.product is model.backbone
    assert model.product_name == "backbone"


@pytest.mark.parametrize("choose", [lambda model: None, lambda model: model.backbone])
def test_a_method_may_decide_for_the_backbone(choose):
    """By naming it, or nothing."""
    model = returning(choose)
    assert model.product is model.backbone


def test_the_named_network_embeds():
    """The teacher's features, unless the backbone's are asked for; in evaluation mode, whatever mode it is in."""
    model = make(Taught)
    fit(model)
    x = torch.randn(6, 5)
    assert (model.product, model.product_name) == (model.heads["target"][0], "heads.target.0")
    with torch.no_grad():
        expected = {
            "product": copy.deepcopy(model.product).eval()(x),
            "backbone": copy.deepcopy(model.backbone).eval()(x),
        }
    assert not torch.allclose(expected["product"], expected["backbone"])
    torch.testing.assert_close(model.embed(x), expected["product"])
    torch.testing.assert_close(model.embed(x, network="backbone"), expected["backbone"])
    assert model.product.training


def test_it_is_found_again_in_a_copy():
    """A copy's product is the copy's."""
    model = make(Taught)
    assert model.product is not None
    twin = copy.deepcopy(model)
    assert twin.product is twin.heads["target"][0]
    assert twin.product is not model.product


@pytest.mark.parametrize(
    ("choose", "match"),
    [
        (lambda model: model.heads["target"], r"returns heads\.target, which is not of the backbone's architecture"),
        (lambda model: model.heads["head"], "none in the backbone|none there"),
        (lambda model: deepcopy(model.backbone), "is no part of the model, so no checkpoint holds it"),
        (lambda model: "target", "must return a module, it returned str"),
        (lambda model: model.heads.teacher, "product fails: .*teacher"),
    ],
)
def test_what_cannot_be_a_product(choose, match):
    """The message says what came, and what to return."""
    with pytest.raises(ContractError, match=match):
        returning(choose).embed(torch.randn(2, 5))


def test_unknown_network():
    """With those that there are."""
    with pytest.raises(ConfigError, match="Did you mean 'product'"):
        make(Taught).embed(torch.randn(2, 5), network="produkt")
