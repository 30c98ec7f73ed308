"""VICReg: expander, views, and the weights of its terms."""

from __future__ import annotations

import pytest
import torch
from ssl_registry_vicreg import VICReg
from torch import nn

from ssl_registry import Overrides, registry
from ssl_registry.testing import method_checks

SMALL = {"projection_dim": 16}


def make(**options):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))
    return registry.create("vicreg", backbone=backbone, input_shape=(5,), seed=0, **SMALL | options)


def test_default_expander_is_the_papers():
    """Three layers of 8192, BatchNorm and ReLU behind the first two; no bias, which no term would see."""
    with torch.device("meta"):  # half a gigabyte that nobody looks at
        head = VICReg(VICReg.Config()).build_heads(6, Overrides())["projection_head"]
    assert [type(m).__name__ for m in head] == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    linear = [m for m in head if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(6, 8192), (8192, 8192), (8192, 8192)]
    assert all(m.bias is None for m in linear)


def test_loss_weighs_the_three_terms():
    """Equation 6: each weight is that of its own term."""
    views = [torch.randn(8, 5), torch.randn(8, 5)]
    for weights in ({}, {"invariance": 3.0, "variance": 2.0, "covariance": 0.5}):
        model = make(**weights)
        found = model.hook.compute_loss(model=model, views=views, ctx=None)
        of = {"invariance": 25.0, "variance": 25.0, "covariance": 1.0} | weights
        torch.testing.assert_close(found["loss"], sum(of[name] * found[name] for name in of))


def test_views_are_alike():
    """Blur and solarization at times (appendix C.1), on images large enough to blur."""
    (view,) = VICReg(VICReg.Config()).build_views(224).views
    assert (view.copies, view.blur, view.solarize, view.saturation) == (2, 0.5, 0.1, 0.2)


@pytest.mark.parametrize("check", method_checks("vicreg", options=SMALL, slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
