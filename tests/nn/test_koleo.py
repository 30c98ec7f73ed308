"""KoLeo is the paper's formula, finite also for equal samples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssl_registry.nn import gather, koleo_loss, rank


def features(batch: int, dim: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(batch, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def formula(x: Tensor) -> Tensor:
    """Minus the mean logarithm of the distance to the nearest other sample on the sphere."""
    x = x / x.norm(dim=1, keepdim=True)
    rows = []
    for i in range(len(x)):
        distances = [(x[i] - x[j]).norm() for j in range(len(x)) if j != i]
        rows.append(-torch.stack(distances).min().log())
    return torch.stack(rows).mean()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(2, 8), st.integers(2, 6), st.integers(0, 99))
def test_is_the_formula(batch, dim, seed):
    """Value and gradient, in float64."""
    x, y = features(batch, dim, seed).requires_grad_(), features(batch, dim, seed).requires_grad_()
    loss, expected = koleo_loss(x), formula(y)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, x), torch.autograd.grad(expected, y))


def test_equal_samples_are_finite():
    """Two equal samples have a large loss, and no gradient that is not finite."""
    x = torch.ones(3, 4, requires_grad=True)
    loss = koleo_loss(x)
    loss.backward()
    assert loss > 10
    assert torch.equal(x.grad, torch.zeros(3, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Also under autocast."""
    x = features(6).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = koleo_loss(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, koleo_loss(x.float()))


@pytest.mark.parametrize("shape", [(1, 4), (4,), (2, 3, 4)])
def test_other_shapes_are_refused(shape):
    """A single sample has no neighbour."""
    with pytest.raises(ValueError, match="two samples or more"):
        koleo_loss(torch.zeros(shape))


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device():
    """The neighbour is found on the device."""
    assert koleo_loss(torch.randn(4, 3)).device.type == "cuda"


def gathered() -> tuple[Tensor, Tensor]:
    x = features(6)[3 * rank() : 3 * rank() + 3].requires_grad_()
    loss = koleo_loss(gather(x))
    loss.backward()
    return loss.detach(), x.grad


def test_gathered_features_seek_neighbours_everywhere(two_ranks):
    """Two processes have the loss of one, and DDP's mean of the gradients is its gradient."""
    x = features(6).requires_grad_()
    loss = koleo_loss(x)
    loss.backward()
    found = two_ranks(gathered)
    assert all(torch.allclose(each, loss.detach()) for each, _ in found)
    torch.testing.assert_close(torch.cat([grad for _, grad in found]) / 2, x.grad)
