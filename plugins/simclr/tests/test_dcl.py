"""DCL and DCLW against their formula in float64: both ways through the matrix, every precision, two processes."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ssl_registry_simclr import DCLLoss, NTXentLoss, SimCLR, blocks
from torch import Tensor
from torch.nn import functional as F

from ssl_registry import Overrides
from ssl_registry.testing.processes import run_in_two

properties = settings(deadline=None, derandomize=True, max_examples=30)
seeds, sides = st.integers(0, 10**6), st.integers(1, 30)
SIGMAS = [None, 0.5, 0.01]


def views(seed: int, batch: int, dim: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Two views that agree in part, and some pairs more than others."""
    generator = torch.Generator().manual_seed(seed)
    sample, first, second = (torch.randn(batch, dim, dtype=torch.float64, generator=generator) for _ in range(3))
    noise = torch.linspace(0.1, 1.5, batch, dtype=torch.float64)[:, None]
    return (sample + noise * first).to(dtype), (sample + noise * second).to(dtype)


def formula(z0: Tensor, z1: Tensor, temperature: float, sigma: float | None) -> Tensor:
    """Equation 6 and its weights, row by row, in float64; the weights are constants."""
    a, b = (z.double() / z.double().norm(dim=1, keepdim=True) for z in (z0, z1))
    agreement = (a * b).sum(1)
    weights = torch.ones(len(a), dtype=torch.float64)
    if sigma is not None:
        lifted = torch.exp((agreement.detach() - 1) / sigma)
        weights = 2 - lifted / lifted.mean()
    losses = []
    for own, other in ((a, b), (b, a)):
        for i in range(len(a)):
            negatives = [own[i] @ z[k] / temperature for z in (own, other) for k in range(len(a)) if k != i]
            losses.append(torch.stack(negatives).logsumexp(0) - weights[i] * agreement[i] / temperature)
    return torch.stack(losses).mean()


def with_gradient(function, *tensors: Tensor) -> tuple[Tensor, ...]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    loss = function(*leaves)
    return loss.detach(), *torch.autograd.grad(loss, leaves)


@properties
@given(seeds, st.integers(2, 6), st.integers(1, 6), st.floats(0.01, 5.0), st.sampled_from(SIGMAS), sides)
def test_is_the_formula(seed, batch, dim, temperature, sigma, side):
    """Loss and gradient, by rows where the temperature is low, else by tiles of any side, kept or made again."""
    z0, z1 = views(seed, batch, dim)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(blocks.TILE, "cpu", side)
        patch.setitem(blocks.ENTRIES, "cpu", 64)
        found = with_gradient(DCLLoss(temperature, sigma), z0, z1)
    torch.testing.assert_close(found, with_gradient(lambda a, b: formula(a, b, temperature, sigma), z0, z1))


@pytest.mark.parametrize("temperature", [0.01, 0.024, 0.026, 0.1, 0.5])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_float32_is_near_float64(temperature, sigma):
    """Low temperatures and small sigmas neither overflow nor lose the gradient."""
    z0, z1 = views(0, 12, 16, torch.float32)
    loss, *grads = with_gradient(DCLLoss(temperature, sigma), z0, z1)
    wanted, *wanted_grads = with_gradient(lambda a, b: formula(a, b, temperature, sigma), z0.double(), z1.double())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-4, atol=1e-4)
    for grad, wanted_grad in zip(grads, wanted_grads, strict=True):
        assert (grad - wanted_grad).norm() < 1e-3 * wanted_grad.norm()


@pytest.mark.parametrize("temperature", [0.01, 0.5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype, temperature):
    """Also under autocast, to the last bit."""
    half = [z.to(dtype) for z in views(0, 24, 16)]
    with torch.autocast("cpu", dtype):
        found = DCLLoss(temperature, 0.5)(*half)
    assert torch.equal(found, DCLLoss(temperature, 0.5)(*(z.float() for z in half)))


def test_positive_is_not_in_the_denominator():
    """Orthogonal samples whose views agree: log(2N - 2) - 1/T; NT-Xent has e^(1/T) beside them."""
    z = torch.eye(5)
    assert DCLLoss(0.25)(z, 7 * z).item() == pytest.approx(log(8) - 4, abs=1e-6)


def test_weights_have_mean_one_and_fall_with_agreement():
    """Of views one of which agrees more than the other."""
    z0, z1 = (F.normalize(z, dim=1) for z in views(0, 12, 6))
    weights = DCLLoss(sigma=0.5).shares(torch.cat([z0, z1]))
    assert weights[:12].mean().item() == pytest.approx(1)
    assert torch.equal(weights[:12], weights[12:])
    agreement = (z0 * z1).sum(1)
    assert torch.equal(weights[:12].argsort(descending=True), agreement.argsort())


def test_one_sample_is_refused():
    """It has no negatives, and the logarithm of an empty sum is not a number to train on."""
    with pytest.raises(ValueError, match="no negatives"):
        DCLLoss()(torch.ones(1, 3), torch.ones(1, 3))


def test_sigma_must_be_positive():
    """It is divided by."""
    with pytest.raises(ValueError, match="sigma=0"):
        DCLLoss(sigma=0)


@pytest.mark.parametrize(
    ("loss", "kind", "sigma"), [("ntxent", NTXentLoss, 0), ("dcl", DCLLoss, None), ("dclw", DCLLoss, 0.3)]
)
def test_option_chooses_the_loss(loss, kind, sigma):
    """With its temperature and, for dclw alone, sigma."""
    criterion = SimCLR(SimCLR.Config(loss=loss, temperature=0.2, sigma=0.3)).build_heads(4, Overrides())["criterion"]
    assert type(criterion) is kind
    assert criterion.temperature == 0.2
    assert getattr(criterion, "sigma", 0) == sigma


CASES = [(temperature, sigma) for temperature in (0.5, 0.01) for sigma in (None, 0.5)]


def work(rank: int) -> list[tuple[Tensor, ...]]:
    """What each of two processes does."""
    mine = [z[rank * 4 : (rank + 1) * 4] for z in views(1, 8, 6)]
    return [with_gradient(DCLLoss(*case), *mine) for case in CASES]


@pytest.mark.slow
def test_two_processes_train_as_one():
    """Negatives and weights are of the global batch, and so are the mean over ranks and its gradient."""
    results = run_in_two(work)
    assert [result.error for result in results] == ["", ""]
    z0, z1 = views(1, 8, 6)
    for number, case in enumerate(CASES):
        wanted = with_gradient(lambda a, b, case=case: formula(a, b, *case), z0, z1)
        found = [result.value[number] for result in results]
        torch.testing.assert_close((found[0][0] + found[1][0]) / 2, wanted[0])
        for part in (1, 2):  # DDP averages the gradients
            torch.testing.assert_close(torch.cat([values[part] for values in found]) / 2, wanted[part])
