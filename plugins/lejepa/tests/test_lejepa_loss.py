"""The terms of LeJEPA: the paper's formulas in float64, their gradients, precision, and two processes that are one."""

from __future__ import annotations

import math

import pytest
import torch
from ssl_registry_lejepa import prediction_error, random_directions, sigreg
from torch import Tensor

from ssl_registry.testing.processes import run_in_two


def embeddings(views: int = 3, batch: int = 10, dim: int = 4, seed: int = 0) -> Tensor:
    """Skewed, off the origin, and other in each view."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(views, batch, dim, dtype=torch.float64, generator=generator)
    return z.exp() * torch.linspace(0.3, 2, dim) + torch.linspace(-1, 1, views).view(-1, 1, 1)


def directions(dim: int = 4, number: int = 5) -> Tensor:
    return random_directions(dim, number, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def statistic(x: Tensor, knots: int, t_max: float) -> Tensor:
    """Epps and Pulley's of samples [batch]: the trapezoidal rule over the whole of [-t_max, t_max], point by point."""
    total = x.new_zeros(())
    points = torch.linspace(-t_max, t_max, 2 * knots - 1, dtype=torch.float64).tolist()
    for number, t in enumerate(points):
        weight = (points[1] - points[0]) * (0.5 if number in (0, len(points) - 1) else 1.0)
        real = sum(torch.cos(t * one) for one in x) / len(x)
        imaginary = sum(torch.sin(t * one) for one in x) / len(x)
        total = total + weight * math.exp(-t * t / 2) * ((real - math.exp(-t * t / 2)) ** 2 + imaginary**2)
    return len(x) * total


def formula(z: Tensor, a: Tensor, knots: int, t_max: float) -> Tensor:
    statistics = [statistic(view @ a[:, k], knots, t_max) for view in z for k in range(a.shape[1])]
    return torch.stack(statistics).mean()


@pytest.mark.parametrize(("knots", "t_max"), [(17, 3.0), (9, 5.0), (2, 1.0)])
def test_sigreg_is_the_papers(knots, t_max):
    """Value and gradient of the mean over views and directions."""
    z, a = embeddings().requires_grad_(), directions()
    found, expected = sigreg(z, a, knots=knots, t_max=t_max), formula(z, a, knots, t_max)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, z), torch.autograd.grad(expected, z))


def test_sigreg_of_one_view():
    """Without an axis of views."""
    z, a = embeddings(), directions()
    torch.testing.assert_close(sigreg(z[0], a), sigreg(z[:1], a))


def test_sigreg_is_least_for_a_standard_gaussian():
    """A Gaussian of another mean, another width or one that lies in a plane is worse, and so is a uniform one."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(2048, 4, dtype=torch.float64, generator=generator)
    uniform = (torch.rand(2048, 4, dtype=torch.float64, generator=generator) - 0.5) * math.sqrt(12)
    flat = normal * torch.tensor([1, 1, 1, 0])
    a = directions(number=64)
    best = sigreg(normal, a)
    others = [sigreg(z, a) for z in (normal + 0.3, normal * 1.3, normal * 0.7, flat, uniform, torch.zeros_like(normal))]
    assert min(others) > 3 * best


def test_sigreg_gradient_moves_towards_the_gaussian():
    """Collapsed samples are pushed apart: a few steps from one point to unit variance."""
    z = (0.01 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))).requires_grad_()
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam([z], lr=0.1)
    for _ in range(120):
        loss = sigreg(z, random_directions(2, 16, generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert z.detach().mean(0).abs().max() < 0.1
    torch.testing.assert_close(torch.cov(z.detach().T), torch.eye(2), atol=0.15, rtol=0)


def test_prediction_error_is_the_distance_from_the_global_mean():
    """Averaged over all views, the global ones too, samples and dimensions; the gradient flows through the mean."""
    z = embeddings(views=4).requires_grad_()
    center = (z[0] + z[1]) / 2
    expected = sum(((view - center) ** 2).sum() for view in z) / z.numel()
    found = prediction_error(z, 2)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, z), torch.autograd.grad(expected, z))


def test_directions_are_even_on_the_sphere():
    """Of length 1, without a direction that is preferred, and the generator's alone."""
    a = random_directions(3, 4096, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(a.norm(dim=0), torch.ones(4096))
    assert a.mean(1).abs().max() < 0.05
    torch.testing.assert_close(a @ a.T / 4096, torch.eye(3) / 3, atol=0.02, rtol=0)
    assert torch.equal(a, random_directions(3, 4096, generator=torch.Generator().manual_seed(0)))
    assert not torch.equal(a, random_directions(3, 4096, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Also under autocast, where the product with the directions would be a half one."""
    z, a = (embeddings(batch=8) / 2).to(dtype).requires_grad_(), directions().float()
    with torch.autocast("cpu", torch.bfloat16):
        gaussian, prediction = sigreg(z, a), prediction_error(z, 2)
    (gaussian + prediction).backward()
    assert gaussian.dtype == prediction.dtype == torch.float32
    exact = z.detach().double()
    torch.testing.assert_close(gaussian.double(), formula(exact, a.double(), 17, 3.0), rtol=1e-5, atol=0)
    torch.testing.assert_close(prediction.double(), prediction_error(exact, 2), rtol=1e-5, atol=0)
    assert z.grad.dtype == dtype


def test_wrong_arguments_are_refused():
    """The error shows the shapes or the values."""
    z, a = embeddings(), directions()
    with pytest.raises(ValueError, match=r"z has shape \[10, 4\]"):
        prediction_error(z[0], 1)
    with pytest.raises(ValueError, match="with 4 of them"):
        prediction_error(z, 4)
    with pytest.raises(ValueError, match=r"directions \[3, 5\]"):
        sigreg(z, a[:3])
    with pytest.raises(ValueError, match="knots=1"):
        sigreg(z, a, knots=1)
    with pytest.raises(ValueError, match="t_max=0"):
        sigreg(z, a, t_max=0)


def work(rank: int) -> tuple[Tensor, Tensor]:
    """What each of two processes does, with batches of 4 and 6."""
    z = embeddings().detach()[:, 4:] if rank else embeddings().detach()[:, :4]
    z = z.clone().requires_grad_()
    loss = sigreg(z, directions())
    loss.backward()
    return loss.detach(), z.grad / 2  # DDP averages the gradients


@pytest.mark.slow
def test_two_processes_are_one():
    """The statistic is that of the global batch, on both ranks, and so is the gradient, with unequal batches too."""
    results = run_in_two(work)
    assert [result.error for result in results] == ["", ""]
    z = embeddings().requires_grad_()
    expected = formula(z, directions(), 17, 3.0)
    expected.backward()
    for result in results:
        torch.testing.assert_close(result.value[0], expected.detach())
    torch.testing.assert_close(torch.cat([result.value[1] for result in results], dim=1), z.grad)
