"""Assignments follow SwAV's algorithm, over the batch of all ranks, whatever the size of the logits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssl_registry.nn import rank, sinkhorn

properties = settings(deadline=None, derandomize=True, max_examples=40)


def logits_of(batch: int, prototypes: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, prototypes, generator=generator, dtype=torch.float64) * 2 - 1) * scale


def published(logits: Tensor, epsilon: float, iterations: int) -> Tensor:
    """The authors' listing (appendix A.1), a matrix of prototypes by samples."""
    q = (logits / epsilon).exp().T
    q = q / q.sum()
    prototypes, samples = q.shape
    for _ in range(iterations):
        q = q * (1 / prototypes / q.sum(1, keepdim=True))
        q = q * (1 / samples / q.sum(0, keepdim=True))
    return (q / q.sum(0, keepdim=True)).T


@properties
@given(st.integers(1, 30), st.integers(1, 20), st.integers(1, 5), st.floats(0.05, 2), st.integers(0, 99))
def test_is_the_published_algorithm(batch, prototypes, iterations, epsilon, seed):
    """The same as the listing, in float64."""
    logits = logits_of(batch, prototypes, seed)
    found = sinkhorn(logits, epsilon=epsilon, iterations=iterations)
    torch.testing.assert_close(found, published(logits, epsilon, iterations))


@properties
@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
def test_each_sample_has_one_unit(batch, prototypes, seed):
    """Rows sum to 1 and have no negative entry."""
    found = sinkhorn(logits_of(batch, prototypes, seed).float())
    torch.testing.assert_close(found.sum(1), torch.ones(batch))
    assert (found >= 0).all()


def test_each_prototype_gets_the_same_share():
    """After enough iterations, though one prototype is the nearest of all samples."""
    logits = logits_of(12, 4)
    logits[:, 0] += 3
    found = sinkhorn(logits, epsilon=0.5, iterations=200)
    torch.testing.assert_close(found.sum(0), torch.full((4,), 3.0, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
def test_large_logits_neither_overflow_nor_vanish(scale):
    """In float32 the assignments stay finite, and are those that float64 gives with logarithms throughout."""
    logits = logits_of(9, 5, scale=scale).float()
    q = logits.double() / 0.05
    for _ in range(3):
        q = q - q.logsumexp(0)
        q = q - q.logsumexp(1, keepdim=True)
    torch.testing.assert_close(sinkhorn(logits), q.exp().float(), rtol=1e-3, atol=1e-5)


def test_sample_far_from_all_prototypes_still_counts():
    """Its similarities are so low that their exponentials vanish beside the others'."""
    logits = torch.tensor([[1.0, 0.9], [0.9, 1.0], [-99.0, -99.1]])
    found = sinkhorn(logits)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    torch.testing.assert_close(found.sum(0), torch.full((2,), 1.5), rtol=0.1, atol=0)


@pytest.mark.parametrize("count", [1, 3])
def test_rows_of_minus_infinity_take_no_part(count):
    """They return as zeros, and the others are as without them."""
    logits = logits_of(5, 4)
    padded = torch.cat([logits, torch.full((count, 4), -torch.inf, dtype=torch.float64)])
    found = sinkhorn(padded)
    torch.testing.assert_close(found[:5], sinkhorn(logits))
    assert not found[5:].any()


def test_nothing_but_minus_infinity_is_zero():
    """A queue that is empty as a whole gives no NaN."""
    assert torch.equal(sinkhorn(torch.full((2, 3), -torch.inf)), torch.zeros(2, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Also under autocast."""
    logits = logits_of(6, 5).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = sinkhorn(logits)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, sinkhorn(logits.float()))


def test_logits_are_left_alone_and_get_no_gradient():
    """The result is a target."""
    logits = logits_of(4, 3).requires_grad_()
    before = logits.detach().clone()
    assert not sinkhorn(logits, epsilon=1.0).requires_grad
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    ("logits", "options", "words"),
    [
        (torch.zeros(3), {}, r"\[batch, prototypes\]"),
        (torch.zeros(3, 2), {"epsilon": 0.0}, "epsilon=0"),
        (torch.zeros(3, 2), {"iterations": 0}, "iterations=0"),
    ],
)
def test_wrong_arguments_are_refused(logits, options, words):
    """Each is named."""
    with pytest.raises(ValueError, match=words):
        sinkhorn(logits, **options)


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device():
    """All iterations stay on the device."""
    assert sinkhorn(torch.randn(6, 5)).device.type == "cuda"


def assigned(sizes: tuple[int, int]) -> Tensor:
    start = sum(sizes[: rank()])
    return sinkhorn(logits_of(sum(sizes), 4)[start : start + sizes[rank()]])


@pytest.mark.parametrize("sizes", [(3, 3), (4, 2), (6, 0)])
def test_two_processes_are_one(sizes, two_ranks):
    """The assignments are those of the global batch, for batches of different sizes and for an empty one too."""
    torch.testing.assert_close(torch.cat(two_ranks(assigned, sizes)), sinkhorn(logits_of(sum(sizes), 4)))
