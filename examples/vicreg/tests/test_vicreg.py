"""VICReg: its three terms against the paper's formulas, and a training on digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import ssl_registry_vicreg
import torch
from ssl_registry_vicreg import VICReg, covariance, variance

from ssl_registry import Registry
from ssl_registry.testing import method_checks

SMALL = {"projection_dim": 16}
REGISTRY = Registry(entry_points=False)
REGISTRY.register("vicreg", VICReg)


def test_variance_is_the_papers():
    """Equations 1 and 2: the hinge on the standard deviation of each dimension."""
    z = torch.randn(9, 5, dtype=torch.float64) * torch.tensor([0.1, 0.5, 1.0, 2.0, 0.0])
    expected = sum(max(0.0, 1 - (float(torch.var(z[:, j])) + 1e-4) ** 0.5) for j in range(5)) / 5
    assert float(variance(z)) == pytest.approx(expected)


def test_covariance_is_the_papers():
    """Equations 3 and 4: squared off-diagonal entries of the covariance matrix over the number of dimensions."""
    z = torch.randn(9, 5, dtype=torch.float64)
    cov = torch.cov(z.T)
    expected = sum(float(cov[i, j]) ** 2 for i in range(5) for j in range(5) if i != j) / 5
    assert float(covariance(z)) == pytest.approx(expected)


def test_loss_weighs_the_three_terms(make, ctx):
    """Equation 6, with both views' variance and covariance."""
    model = make(VICReg, **SMALL)
    values = model.hook.compute_loss(model=model, views=[torch.rand(8, 1, 16, 16) for _ in range(2)], ctx=ctx)
    expected = 25 * values["invariance"] + 25 * values["variance"] + values["covariance"]
    torch.testing.assert_close(values["loss"], expected)


def test_trains_on_digits(learns):
    """Sixty steps bring the loss down."""
    learns(VICReg, rate=1e-2, left=0.9, **SMALL)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_resumes_exactly(resumes):
    """From every step, under accumulation."""
    resumes(VICReg, **SMALL)


def test_worked_example_stays_short():
    """It is what the guide for authors shows."""
    assert len(Path(ssl_registry_vicreg.__file__).read_text().splitlines()) < 120


KIT = {"registry": REGISTRY, "slow": True, "options": SMALL | {"optimizer": "adamw", "learning_rate": 1e-3}}


@pytest.mark.slow
@pytest.mark.parametrize("check", method_checks("vicreg", **KIT))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
