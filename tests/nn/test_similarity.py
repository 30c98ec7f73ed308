"""Negative cosine similarity: the formula, its gradient and its precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_registry.nn import NegativeCosineSimilarity

properties = settings(deadline=None, derandomize=True, max_examples=60)
seeds = st.integers(0, 10**6)


def vectors(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    p, z = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2))
    return p, z


@properties
@given(seeds, st.integers(1, 9), st.integers(1, 9))
def test_is_the_formula(seed, batch, dim):
    """The mean of -<p, z> / (|p| |z|)."""
    p, z = vectors(seed, batch, dim)
    rows = zip(p.tolist(), z.tolist(), strict=True)
    wanted = [
        -sum(a * b for a, b in zip(u, v, strict=True)) / (sum(a * a for a in u) ** 0.5 * sum(b * b for b in v) ** 0.5)
        for u, v in rows
    ]
    assert NegativeCosineSimilarity()(p, z).item() == pytest.approx(sum(wanted) / batch, abs=1e-9)


@properties
@given(seeds, st.integers(1, 9), st.integers(1, 9))
def test_is_byols_loss_but_for_a_scale(seed, batch, dim):
    """BYOL's equation 2, the squared distance of unit vectors, is 2 + 2 times this loss."""
    p, z = vectors(seed, batch, dim)
    unit = [v / v.norm(dim=1, keepdim=True) for v in (p, z)]
    equation_2 = (unit[0] - unit[1]).square().sum(1).mean()
    torch.testing.assert_close(2 + 2 * NegativeCosineSimilarity()(p, z), equation_2)


def test_gradient():
    """Analytical and numerical gradients agree, for both arguments."""
    p, z = (v.requires_grad_() for v in vectors(0, 4, 5))
    assert torch.autograd.gradcheck(NegativeCosineSimilarity(), (p, z))


def test_detached_target_gets_no_gradient():
    """Only what requires a gradient gets one."""
    p, z = vectors(0, 4, 5)
    p.requires_grad_()
    NegativeCosineSimilarity()(p, z.detach()).backward()
    assert p.grad.abs().sum() > 0
    assert z.grad is None


@properties
@given(seeds, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_length_does_not_matter(seed, a, b):
    """Only directions count."""
    p, z = vectors(seed, 3, 4)
    loss = NegativeCosineSimilarity()
    torch.testing.assert_close(loss(a * p, b * z), loss(p, z))


@pytest.mark.parametrize(("sign", "wanted"), [(1, -1.0), (-1, 1.0)])
def test_bounds(sign, wanted):
    """The same direction is -1, the opposite one 1."""
    p, _ = vectors(0, 6, 4)
    assert NegativeCosineSimilarity()(p, sign * 3 * p).item() == pytest.approx(wanted)


def test_axis():
    """The vectors may lie along another axis."""
    p, z = vectors(0, 4, 5)
    torch.testing.assert_close(NegativeCosineSimilarity(dim=0)(p.T, z.T), NegativeCosineSimilarity()(p, z))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Squares of 300 overflow float16, and sums of many terms lose digits in both: not here."""
    p, z = ((300 * v).to(dtype).requires_grad_() for v in vectors(0, 8, 4096))
    loss = NegativeCosineSimilarity()(p, z)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), NegativeCosineSimilarity()(p.double(), z.double()), rtol=0, atol=1e-6)
    assert p.grad.isfinite().all()
    assert p.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    """Under autocast the loss is that outside of it, to the last bit."""
    p, z = (v.float() for v in vectors(0, 8, 64))
    with torch.autocast("cpu", dtype):
        inside = NegativeCosineSimilarity()(p, z)
    assert torch.equal(inside, NegativeCosineSimilarity()(p, z))


def test_zero_vectors_are_harmless():
    """A vector of zeros has similarity 0 and a finite gradient."""
    p = torch.zeros(2, 3, requires_grad=True)
    loss = NegativeCosineSimilarity()(p, torch.ones(2, 3))
    loss.backward()
    assert loss == 0
    assert p.grad.isfinite().all()


def test_other_shapes_are_refused():
    """Broadcasting would hide a mistake."""
    with pytest.raises(ValueError, match=r"\[4, 5\].*\[4, 1\]"):
        NegativeCosineSimilarity()(torch.ones(4, 5), torch.ones(4, 1))
