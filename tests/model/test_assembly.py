"""Backbone, heads and views, put together."""

from __future__ import annotations

import torch

from ssl_registry import registry


def test_views_of_a_rectangle_are_rectangles():
    """A transformer of fixed size takes no square in their place."""
    model = registry.create("simclr", backbone="resnet10t", input_shape=(3, 16, 24), seed=0)
    views = model.view_policy.draw(torch.zeros(2, 3, 16, 24, dtype=torch.uint8), torch.Generator().manual_seed(0))
    assert {view.shape for view in views} == {(2, 3, 16, 24)}
    assert registry.create("simclr", backbone="resnet10t", image_size=24).view_policy.image_size == 24
