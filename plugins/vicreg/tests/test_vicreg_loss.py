"""The terms of VICReg: the paper's equations in float64, their precision, and two processes that are one."""

from __future__ import annotations

import pytest
import torch
from ssl_registry_vicreg import VICRegLoss, covariance, variance
from torch import Tensor

from ssl_registry.errors import BatchError
from ssl_registry.testing.processes import run_in_two

# More samples than dimensions, and fewer: covariances by dimensions and by samples.
shapes = pytest.mark.parametrize("shape", [(24, 4), (6, 16)])


def views(shape: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two views with standard deviations below and above 1, and means of their own."""
    generator = torch.Generator().manual_seed(seed)
    common, a, b = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(3))
    scale = torch.linspace(0.1, 1.5, shape[1], dtype=torch.float64)
    return ((common + a) * scale + 3).requires_grad_(), ((common + b) * scale.flip(0) - 1).requires_grad_()


def of_variance(z: Tensor) -> Tensor:
    """Equations 1 and 2, dimension by dimension."""
    deviations = [((column - column.mean()).square().sum() / (len(z) - 1) + 1e-4).sqrt() for column in z.T]
    return sum((torch.clamp(1 - s, min=0) for s in deviations), z.new_zeros(())) / z.shape[1]


def of_covariance(z: Tensor) -> Tensor:
    """Equations 3 and 4, entry by entry."""
    centered = z - z.mean(0)
    pairs = [(i, j) for i in range(z.shape[1]) for j in range(z.shape[1]) if i != j]
    entries = [(centered[:, i] @ centered[:, j] / (len(z) - 1)) ** 2 for i, j in pairs]
    return sum(entries, z.new_zeros(())) / z.shape[1]


def formula(a: Tensor, b: Tensor, weights: tuple[float, float, float] = (25.0, 25.0, 1.0)) -> Tensor:
    """Equations 5 and 6; the distance is averaged over the dimensions too, as in the authors' code."""
    terms = (
        (a - b).square().sum() / a.numel(),
        of_variance(a) + of_variance(b),
        of_covariance(a) + of_covariance(b),
    )
    return sum((w * t for w, t in zip(weights, terms, strict=True)), a.new_zeros(()))


@shapes
@pytest.mark.parametrize(("term", "expected"), [(variance, of_variance), (covariance, of_covariance)])
def test_terms_are_the_papers(shape, term, expected):
    """Value and gradient of each by itself."""
    a, _ = views(shape)
    torch.testing.assert_close(term(a), expected(a))
    torch.testing.assert_close(torch.autograd.grad(term(a), a), torch.autograd.grad(expected(a), a))


@shapes
@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 3.0)])
def test_loss_is_the_papers(shape, weights):
    """The weighted sum over both views, and its gradients."""
    a, b = views(shape)
    found, expected = VICRegLoss(*weights)(a, b), formula(a, b, weights)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, (a, b)), torch.autograd.grad(expected, (a, b)))


def test_collapsed_views_have_a_finite_gradient():
    """All samples alike: the variance term is at its most, and its root has a slope."""
    a = torch.ones(8, 4, requires_grad=True)
    loss = VICRegLoss()(a, torch.ones(8, 4))
    loss.backward()
    assert loss.item() == pytest.approx(25 * 2 * 0.99)
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Also under autocast; squares of 300 overflow float16."""
    a, b = ((300 * z.detach()).to(dtype).requires_grad_() for z in views((64, 32)))
    with torch.autocast("cpu", torch.bfloat16):
        loss = VICRegLoss()(a, b)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), formula(a.detach().double(), b.detach().double()), rtol=1e-5, atol=0)
    assert a.grad.dtype == dtype


@pytest.mark.parametrize(("one", "other"), [((4, 3), (5, 3)), ((4, 3), (4, 2)), ((1, 3), (1, 3)), ((4,), (4,))])
def test_other_shapes_are_refused(one, other):
    """The error shows both shapes."""
    with pytest.raises(ValueError, match=r"shapes \[.*\] and \[.*\]"):
        VICRegLoss()(torch.zeros(one), torch.zeros(other))


def test_weights_must_not_be_negative():
    """A negative one would reward collapse."""
    with pytest.raises(ValueError, match="mu=-1"):
        VICRegLoss(mu=-1)


SHAPES = [(24, 4), (6, 16)]


def work(rank: int) -> dict[str, tuple[Tensor, ...]]:
    """What each of two processes does."""
    found = {}
    for shape in SHAPES:
        rows = shape[0] // 2
        a, b = (z.detach()[rank * rows : (rank + 1) * rows].requires_grad_() for z in views(shape))
        loss = VICRegLoss()(a, b)
        loss.backward()
        found[str(shape)] = loss.detach(), a.grad / 2, b.grad / 2  # DDP averages the gradients
    with pytest.raises(BatchError):
        VICRegLoss()(*torch.randn(2, 12 if rank else 2, 8))
    return found


@pytest.mark.slow
def test_two_processes_are_one():
    """Deviations and covariances are of the global batch, and so is the gradient; unequal batches are refused."""
    results = run_in_two(work)
    assert [result.error for result in results] == ["", ""]
    for shape in SHAPES:
        a, b = views(shape)
        expected = formula(a, b)
        expected.backward()
        found = [result.value[str(shape)] for result in results]
        # The distance is that of a rank's own samples; the mean over ranks is that of all.
        torch.testing.assert_close(sum(loss for loss, _, _ in found) / 2, expected.detach())
        for number, whole in ((1, a), (2, b)):
            torch.testing.assert_close(torch.cat([parts[number] for parts in found]), whole.grad)
