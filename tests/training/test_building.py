"""The model for a source, where the user left something open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssl_registry import MethodConfig, Needs, Registry, hookimpl, registry
from ssl_registry.data import open_source
from ssl_registry.errors import ConfigError
from ssl_registry.training.building import build_model, choose_backbone


@pytest.mark.parametrize(("backbone", "is_replaced"), [("resnet18", True), ("resnet10t", False)])
def test_small_images_get_a_small_stem_where_it_is_known(backbone, is_replaced):
    """A plain ResNet loses its max-pool; one with a stem of another kind is left as it is, and is no error."""
    model = build_model(
        "simclr",
        open_source("digits"),
        backbone=backbone,
        low_resolution=None,
        pretrained=False,
        backbone_kwargs=None,
        seed=0,
        options={},
        registry=registry,
    )
    assert (type(model.backbone.maxpool).__name__ == "Identity") is is_replaced


class Needy:
    """A method for images that names its backbone."""

    needs = Needs(modalities=("image",), backbone="resnet10t", backbone_kwargs={"drop_rate": 0.1})

    class Config(MethodConfig):
        """No options."""

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self):
        return {}

    @hookimpl
    def compute_loss(self, model, views):
        return model(views[0]).square().mean()


def test_the_method_names_the_backbone():
    """Where the user does not, with its arguments; samples of another kind are refused."""
    mine = Registry(entry_points=False)
    mine.register("needy", Needy)
    digits = open_source("digits")
    assert choose_backbone("needy", digits, None, None, registry=mine) == ("resnet10t", {"drop_rate": 0.1})
    assert choose_backbone("needy", digits, "resnet18", None, registry=mine) == ("resnet18", {})
    with pytest.raises(ConfigError, match="needy does not take tables"):
        choose_backbone("needy", replace(digits, modality="table"), None, None, registry=mine)
