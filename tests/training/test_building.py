"""The model for a source, where the user left something open."""

from __future__ import annotations

import pytest

from ssl_registry import registry
from ssl_registry.data import open_source
from ssl_registry.training.building import build_model


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
