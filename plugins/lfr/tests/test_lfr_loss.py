"""Batch-wise Barlow Twins: the formula, its gradient and its precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ssl_registry_lfr import loss as loss_module
from ssl_registry_lfr.loss import BatchWiseBarlowTwinsLoss
from torch import Tensor
from torch.nn import functional as F

properties = settings(deadline=None, derandomize=True, max_examples=60)
seeds = st.integers(0, 10**6)
batches = st.integers(1, 8)
dims = st.integers(1, 8)
weights = st.floats(0, 2)


def pair(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pred, target = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2))
    return pred, target


def reference(pred: Tensor, target: Tensor, lambd: float) -> float:
    """The formula, entry by entry."""
    total = 0.0
    for i, p in enumerate(pred):
        for j, z in enumerate(target):
            c = (p @ z / (p.norm() * z.norm())).item()
            total += (c - 1) ** 2 if i == j else lambd * c**2
    return total


@properties
@given(seeds, batches, dims, weights)
def test_is_the_formula(seed, batch, dim, lambd):
    """Samples against samples, summed and not divided by the batch."""
    pred, target = pair(seed, batch, dim)
    found = BatchWiseBarlowTwinsLoss(lambd)(pred, target).item()
    assert found == pytest.approx(reference(pred, target, lambd), rel=1e-9, abs=1e-9)


@properties
@given(seeds, st.integers(1, 4), batches, dims, weights)
def test_stacked_targets_are_averaged(seed, k, batch, dim, lambd):
    """[K, batch, dim] is the mean of K losses."""
    pred, target = pair(seed, k, batch, dim)
    loss = BatchWiseBarlowTwinsLoss(lambd)
    wanted = torch.stack([loss(p, z) for p, z in zip(pred, target, strict=True)]).mean()
    torch.testing.assert_close(loss(pred, target), wanted)


def test_default_weight():
    """The authors' weight off the diagonal is 0.01."""
    pred, target = pair(0, 5, 4)
    assert BatchWiseBarlowTwinsLoss()(pred, target).item() == pytest.approx(reference(pred, target, 0.01))


SHAPES = [(4, 3), (2, 4, 3), (9, 3), (3, 9, 2)]  # the last two are wide enough for Gram matrices


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient(shape):
    """Analytical and numerical gradients agree, for both arguments."""
    pred, target = (x.requires_grad_() for x in pair(0, *shape))
    assert torch.autograd.gradcheck(BatchWiseBarlowTwinsLoss(0.3), (pred, target))


def plain(pred: Tensor, target: Tensor, lambd: float = 0.01) -> Tensor:
    """The formula with whole matrices, for autograd."""
    c = F.normalize(pred, dim=-1) @ F.normalize(target, dim=-1).mT
    weights = torch.full_like(c, lambd).diagonal_scatter(torch.ones(c.shape[:-1], dtype=c.dtype), 0, -2, -1)
    return (weights * (c - torch.eye(c.shape[-1], dtype=c.dtype)).square()).sum((-2, -1)).mean()


@pytest.mark.parametrize("at_once", [1, 1 << 18])
@pytest.mark.parametrize("shape", [*SHAPES, (7, 40, 50), (7, 60, 8)])
def test_fast_ways_are_the_plain_one(shape, at_once, monkeypatch):
    """A few matrices at a time, or Gram matrices: value and both gradients in float64."""
    monkeypatch.setitem(loss_module.AT_ONCE, "cpu", at_once)
    found, wanted = ([x.clone().requires_grad_() for x in pair(1, *shape)] for _ in range(2))
    ours, theirs = BatchWiseBarlowTwinsLoss()(*found), plain(*wanted)
    torch.testing.assert_close(ours, theirs)
    (3 * ours).backward()
    (3 * theirs).backward()
    torch.testing.assert_close([x.grad for x in found], [x.grad for x in wanted])


@pytest.mark.parametrize("shape", [(2, 16, 32), (2, 64, 8)])
def test_float32_is_near_float64(shape):
    """Neither way loses the gradient to rounding."""
    pred, target = pair(2, *shape)
    single, double = pred.float().requires_grad_(), pred.clone().requires_grad_()
    found, wanted = BatchWiseBarlowTwinsLoss()(single, target.float()), BatchWiseBarlowTwinsLoss()(double, target)
    found.backward()
    wanted.backward()
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    assert (single.grad - double.grad).norm() < 1e-5 * double.grad.norm()


def test_strided_predictions():
    """Predictions that lie side by side, [batch, K, dim] in memory, are taken as they are."""
    pred, target = pair(3, 6, 3, 4)
    wanted = plain(pred.transpose(0, 1), target.transpose(0, 1))
    torch.testing.assert_close(BatchWiseBarlowTwinsLoss()(pred.transpose(0, 1), target.transpose(0, 1)), wanted)


def test_no_gradient_for_targets_that_want_none():
    """A frozen projector's output gets none."""
    pred, target = pair(0, 5, 4)
    pred.requires_grad_()
    BatchWiseBarlowTwinsLoss()(pred, target).backward()
    assert pred.grad is not None
    assert target.grad is None


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_perfect_alignment_is_the_least(batch):
    """Orthogonal samples and predictions along their targets have loss 0, never less, and gradient 0."""
    target = torch.eye(64)[:batch]
    pred = (3 * target).requires_grad_()
    loss = BatchWiseBarlowTwinsLoss()(pred, target)
    loss.backward()
    assert 0 <= loss.item() < 1e-9
    assert pred.grad.abs().max() < 1e-6


@properties
@given(seeds, batches, dims)
def test_never_negative(seed, batch, dim):
    """A sum of squares, in float32 too, also where predictions equal targets."""
    pred, _ = (x.float() for x in pair(seed, batch, dim))
    assert BatchWiseBarlowTwinsLoss()(pred, pred).item() >= 0


@properties
@given(seeds, st.floats(1e-3, 1e3))
def test_length_does_not_matter(seed, scale):
    """Only directions count."""
    pred, target = pair(seed, 4, 3)
    loss = BatchWiseBarlowTwinsLoss()
    torch.testing.assert_close(loss(scale * pred, target / scale), loss(pred, target))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Squares of 300 overflow float16: not here."""
    pred, target = ((300 * x).to(dtype).requires_grad_() for x in pair(0, 16, 512))
    loss = BatchWiseBarlowTwinsLoss()(pred, target)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), BatchWiseBarlowTwinsLoss()(pred.double(), target.double()))
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    """Under autocast the loss is that outside of it, to the last bit."""
    pred, target = (x.float() for x in pair(0, 16, 32))
    with torch.autocast("cpu", dtype):
        inside = BatchWiseBarlowTwinsLoss()(pred, target)
    assert torch.equal(inside, BatchWiseBarlowTwinsLoss()(pred, target))


def test_zero_vectors_are_harmless():
    """An output of zeros, as of a dead projector, has finite loss and gradient."""
    pred = torch.randn(3, 4, requires_grad=True)
    loss = BatchWiseBarlowTwinsLoss()(pred, torch.zeros(3, 4))
    loss.backward()
    assert loss == 3
    assert pred.grad.isfinite().all()


def test_negative_weight_is_refused():
    """It would reward redundancy."""
    with pytest.raises(ValueError, match="lambd=-1"):
        BatchWiseBarlowTwinsLoss(-1)


@pytest.mark.parametrize(("one", "other"), [((4, 3), (4, 2)), ((4,), (4,)), ((1, 2, 3, 4), (1, 2, 3, 4))])
def test_other_shapes_are_refused(one, other):
    """The error shows both shapes."""
    with pytest.raises(ValueError, match=r"shape \[.*\] and targets \[.*\]"):
        BatchWiseBarlowTwinsLoss()(torch.ones(one), torch.ones(other))
