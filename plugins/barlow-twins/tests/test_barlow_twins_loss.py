"""The loss of Barlow Twins: the paper's equations in float64, its precision, and two processes that are one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ssl_registry_barlow_twins import BarlowTwinsLoss
from ssl_registry_barlow_twins.loss import standardize
from torch import Tensor

from ssl_registry.errors import BatchError
from ssl_registry.testing.processes import run_in_two

# More samples than dimensions, and fewer.
shapes = pytest.mark.parametrize("shape", [(24, 4), (6, 16)])


def views(shape: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two views whose dimensions have means and scales of their own, and that have something in common."""
    generator = torch.Generator().manual_seed(seed)
    common, a, b = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(3))
    scale = torch.linspace(0.5, 3.0, shape[1], dtype=torch.float64)
    return ((common + a) * scale + 7).requires_grad_(), ((common + b) / scale - 2).requires_grad_()


def formula(a: Tensor, b: Tensor, lambd: float = 0.0051, eps: float = 1e-5) -> Tensor:
    """Equations 1 and 2, entry by entry; the variance is that of the batch, as BatchNorm takes it."""
    n, dim = a.shape
    scaled = [(z - z.mean(0)) / ((z - z.mean(0)).square().sum(0) / n + eps).sqrt() for z in (a, b)]
    loss = a.new_zeros(())
    for i in range(dim):
        for j in range(dim):
            c = (scaled[0][:, i] * scaled[1][:, j]).sum() / n
            loss = loss + ((1 - c) ** 2 if i == j else lambd * c**2)
    return loss


@shapes
@pytest.mark.parametrize("lambd", [0.0051, 1.0])
def test_is_the_papers(shape, lambd):
    """Value and gradients."""
    a, b = views(shape)
    found, expected = BarlowTwinsLoss(lambd)(a, b), formula(a, b, lambd)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, (a, b)), torch.autograd.grad(expected, (a, b)))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 9))
def test_symmetries(seed, batch, dim):
    """The order of views, samples and dimensions, and each dimension's offset and sign in both views, do not matter."""
    a, b = views((batch, dim), seed)
    loss = BarlowTwinsLoss(0.3)
    samples, dims = (torch.randperm(n, generator=torch.Generator().manual_seed(seed)) for n in (batch, dim))
    wanted = loss(a, b)
    torch.testing.assert_close(loss(b, a), wanted)
    torch.testing.assert_close(loss(a[samples], b[samples]), wanted)
    torch.testing.assert_close(loss(a[:, dims], b[:, dims]), wanted)
    torch.testing.assert_close(loss(3 - a, -b), wanted)


def test_constant_dimension_is_harmless():
    """Its correlation is 0: one on the diagonal, and gradients stay finite."""
    a, b = (z.detach().float() for z in views((16, 4)))
    a[:, 2] = 5.0
    a.requires_grad_()
    loss = BarlowTwinsLoss()(a, b)
    loss.backward()
    assert loss > 1
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Also under autocast, where the gradient has the input's type."""
    a, b = ((100 * z.detach()).to(dtype).requires_grad_() for z in views((64, 32)))
    with torch.autocast("cpu", torch.bfloat16):
        loss = BarlowTwinsLoss()(a, b)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), formula(a.detach().double(), b.detach().double()), rtol=1e-5, atol=0)
    assert a.grad.dtype == dtype
    assert a.grad.isfinite().all()


def test_standardize_over_one_rank_is_batch_norm():
    """Mean 0, variance 1 but for what is added to it."""
    z = views((16, 5))[0]
    found = standardize(z)
    torch.testing.assert_close(found.mean(0), torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(
        found.var(0, unbiased=False), z.var(0, unbiased=False) / (z.var(0, unbiased=False) + 1e-5)
    )


@pytest.mark.parametrize(("one", "other"), [((4, 3), (5, 3)), ((4, 3), (4, 2)), ((1, 3), (1, 3)), ((4,), (4,))])
def test_other_shapes_are_refused(one, other):
    """The error shows both shapes."""
    with pytest.raises(ValueError, match=r"shapes \[.*\] and \[.*\]"):
        BarlowTwinsLoss()(torch.zeros(one), torch.zeros(other))


def test_weight_must_not_be_negative():
    """A negative one would make dimensions alike."""
    with pytest.raises(ValueError, match="lambd"):
        BarlowTwinsLoss(-1.0)


SHAPES = [(24, 4), (6, 16)]


def work(rank: int) -> dict[str, tuple[Tensor, ...]]:
    """What each of two processes does."""
    found = {}
    for shape in SHAPES:
        rows = shape[0] // 2
        a, b = (z.detach()[rank * rows : (rank + 1) * rows].requires_grad_() for z in views(shape))
        loss = BarlowTwinsLoss()(a, b)
        loss.backward()
        found[str(shape)] = loss.detach(), a.grad / 2, b.grad / 2  # DDP averages the gradients
    with pytest.raises(BatchError):
        BarlowTwinsLoss()(*torch.randn(2, 12 if rank else 2, 8))
    return found


@pytest.mark.slow
def test_two_processes_are_one():
    """Statistics are those of the global batch, and so is the gradient; unequal batches are refused."""
    results = run_in_two(work)
    assert [result.error for result in results] == ["", ""]
    for shape in SHAPES:
        a, b = views(shape)
        expected = formula(a, b)
        expected.backward()
        found = [result.value[str(shape)] for result in results]
        for loss, _, _ in found:
            torch.testing.assert_close(loss, expected.detach())
        for number, whole in ((1, a), (2, b)):
            torch.testing.assert_close(torch.cat([parts[number] for parts in found]), whole.grad)
