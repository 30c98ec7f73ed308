"""LeJEPA: the weights of its terms, its directions, views and head."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ssl_registry_lejepa import LeJEPA, prediction_error, random_directions, sigreg
from torch import nn

from ssl_registry import registry
from ssl_registry.errors import BackboneError
from ssl_registry.testing import method_checks

SMALL = {"hidden_dim": 16, "projection_dim": 8, "directions": 16, "knots": 5, "local_views": 2}


def make(**options):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))
    return registry.create("lejepa", backbone=backbone, input_shape=(5,), seed=0, **SMALL | options)


def loss_of(model, views, seed=3):
    ctx = SimpleNamespace(shared_generator=torch.Generator().manual_seed(seed))
    return model.hook.compute_loss(model=model, views=views, ctx=ctx)


@pytest.mark.parametrize("options", [{}, {"lambd": 0.3, "global_views": 1}, {"lambd": 1.0, "knots": 9, "t_max": 5.0}])
def test_loss_weighs_both_terms(options):
    """The prediction has what SIGReg leaves of 1; all views count in both, the global ones alone in the center."""
    model = make(**options)
    views = [torch.randn(12, 5) for _ in range(4)]
    found = loss_of(model, views)
    z = torch.stack([model.method.forward(model, view) for view in views])
    config = model.config
    a = random_directions(8, 16, generator=torch.Generator().manual_seed(3))
    gaussian = sigreg(z, a, knots=config.knots, t_max=config.t_max)
    prediction = prediction_error(z, config.global_views)
    torch.testing.assert_close(found["loss"], (1 - config.lambd) * prediction + config.lambd * gaussian)


def test_directions_are_the_shared_generators():
    """The same numbers give the same loss, whatever else was drawn; others give another."""
    model = make()
    views = [torch.randn(12, 5) for _ in range(4)]
    first = loss_of(model, views)["sigreg"]
    torch.manual_seed(9)
    assert torch.equal(first, loss_of(model, views)["sigreg"])
    assert not torch.equal(first, loss_of(model, views, seed=4)["sigreg"])


def test_each_batch_has_directions_of_its_own():
    """Drawn anew, so that a few directions a batch become all of them over a run."""
    model = make()
    views = [torch.randn(12, 5) for _ in range(4)]
    first, again, other = (model.batch_loss({"views": views}, number)[1]["sigreg"] for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_views_are_the_authors():
    """Two large and six small crops with the same colors; the small ones have 98 of 224 pixels."""
    large, small = LeJEPA(LeJEPA.Config()).build_views(224).views
    assert (large.copies, large.crop_scale, large.size) == (2, (0.3, 1.0), None)
    assert (small.copies, small.crop_scale, small.size) == (6, (0.05, 0.3), 98)
    for view in (large, small):
        assert (view.flip, view.color_jitter, view.grayscale, view.blur, view.solarize) == (0.5, 0.8, 0.2, 0.5, 0.2)
        assert (view.brightness, view.contrast, view.saturation, view.hue) == (0.4, 0.4, 0.2, 0.1)
    assert len(LeJEPA(LeJEPA.Config(local_views=0)).build_views(224).views) == 1
    assert LeJEPA(LeJEPA.Config(local_size=96)).build_views(224).views[1].size == 96


def test_default_head_is_the_authors():
    """Three layers, 2048 wide inside, BatchNorm and ReLU behind the first two."""
    head = registry.create("lejepa", backbone=nn.Linear(5, 6), input_shape=(5,)).heads["projection_head"]
    assert [type(m).__name__ for m in head] == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    assert [(m.in_features, m.out_features) for m in head if isinstance(m, nn.Linear)] == [
        (6, 2048),
        (2048, 2048),
        (2048, 128),
    ]


def test_vision_transformer_takes_small_views():
    """At 224 pixels with patches of 14; of one size alone is refused, with the argument that mends it."""
    vit = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 14}
    make = {"backbone": "vit_tiny_patch16_224", **SMALL}
    with pytest.raises(BackboneError, match="dynamic_img_size"):
        registry.create("lejepa", backbone_kwargs=vit, **make)
    model = registry.create("lejepa", backbone_kwargs=vit | {"dynamic_img_size": True}, **make)
    views = model.view_policy.draw(torch.rand(2, 3, 224, 224), torch.Generator().manual_seed(0))
    assert [view.shape[-1] for view in views] == [224, 224, 98, 98]
    assert loss_of(model, views)["loss"].isfinite()


@pytest.mark.parametrize("check", method_checks("lejepa", options=SMALL, slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
