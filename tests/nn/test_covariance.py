"""The squares off the diagonal, by samples and by dimensions, over one rank and two."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssl_registry.errors import BatchError
from ssl_registry.nn import all_mean, covariance, off_diagonal_squares, rank, world_size

# More samples than dimensions, fewer, and as many: both ways of computing.
shapes = pytest.mark.parametrize("shape", [(24, 4), (4, 24), (6, 6)])


def views(shape: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2))
    return a.requires_grad_(), b.requires_grad_()


def formula(a: Tensor, b: Tensor) -> Tensor:
    """The squares of a matrix whose diagonal was left out."""
    products = a.T @ b
    return products[~torch.eye(len(products), dtype=torch.bool)].square().sum()


@shapes
def test_two_views(shape):
    """Value and both gradients, in float64."""
    a, b = views(shape)
    found, expected = off_diagonal_squares(a, b), formula(a, b)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * found, (a, b)), torch.autograd.grad(3 * expected, (a, b)))


@shapes
@pytest.mark.parametrize("call", [off_diagonal_squares, lambda a: off_diagonal_squares(a, a)], ids=["one", "twice"])
def test_one_view(call, shape):
    """With itself, given once or twice."""
    a, _ = views(shape)
    found, expected = call(a), formula(a, a)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, a), torch.autograd.grad(expected, a))


@shapes
@pytest.mark.parametrize("single", [False, True], ids=["two views", "one view"])
def test_diagonal(shape, single):
    """It comes with the squares, and so does its gradient."""
    a, b = views(shape)
    b = a if single else b
    value, diagonal = off_diagonal_squares(a, None if single else b, diagonal=True)
    torch.testing.assert_close(diagonal, (a * b).sum(0))
    found, expected = value + diagonal.exp().sum(), formula(a, b) + (a * b).sum(0).exp().sum()
    inputs = (a,) if single else (a, b)
    torch.testing.assert_close(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs))


@shapes
def test_view_without_gradient(shape):
    """The other still gets its own."""
    a, b = views(shape)
    found = off_diagonal_squares(a.detach(), b)
    torch.testing.assert_close(torch.autograd.grad(found, b), torch.autograd.grad(formula(a, b), b))


def test_covariance_term_of_vicreg():
    """Equation 4, of covariances that torch computes."""
    a, _ = views((10, 4))
    found = off_diagonal_squares((a - all_mean(a)) / 9**0.5) / 4
    covariance = torch.cov(a.T)
    torch.testing.assert_close(found, (covariance.square().sum() - covariance.diagonal().square().sum()) / 4)


@shapes
def test_matrix_of_the_other_kind_is_not_made(shape):
    """Nothing larger than the smaller of [batch, batch] and [dim, dim], and the inputs, is kept or made."""
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), kwargs=None):
            out = function(*arguments, **(kwargs or {}))
            if isinstance(out, Tensor):
                sizes.append(tuple(out.shape))
            return out

    a, b = views(shape)
    with Watch():
        off_diagonal_squares(a, b).backward()
    batch, dim = shape
    unwanted = (dim, dim) if batch < dim else (batch, batch)
    assert unwanted not in sizes or batch == dim


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Also under autocast; in float16 this sum would overflow."""
    a = torch.full((8, 40), 10.0, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = off_diagonal_squares(a)
    assert found.dtype == torch.float32
    assert found == 40 * 39 * 800.0**2


@pytest.mark.parametrize("others", [(torch.zeros(3),), (torch.zeros(3, 2), torch.zeros(2, 2))])
def test_other_shapes_are_refused(others):
    """With the shapes."""
    with pytest.raises(ValueError, match=r"one \[batch, dim\]"):
        off_diagonal_squares(*others)


@pytest.mark.usefixtures("fake_cuda")
@shapes
def test_nothing_waits_for_the_device(shape):
    """In both ways of computing."""
    a, b = torch.randn(shape), torch.randn(shape)
    assert off_diagonal_squares(a, b).device.type == off_diagonal_squares(a).device.type == "cuda"


def shared(shape: tuple[int, int], single: bool) -> tuple[Tensor, ...]:
    """The loss on half of the batch, and its gradients; each rank weights it by itself."""
    rows = shape[0] // world_size()
    a, b = (x.detach()[rank() * rows : (rank() + 1) * rows].requires_grad_() for x in views(shape))
    value = off_diagonal_squares(a) if single else off_diagonal_squares(a, b)
    (value * (rank() + 1)).backward()
    return value.detach(), a.grad, *([] if single else [b.grad])


@shapes
@pytest.mark.parametrize("single", [True, False])
def test_two_processes_are_one(shape, single, two_ranks):
    """Value of the global batch on both ranks, and the gradient of the sum of their losses."""
    a, b = views(shape)
    inputs = (a,) if single else (a, b)
    expected = formula(a, a if single else b)
    gradients = torch.autograd.grad(expected * (1 + 2), inputs)
    first, second = two_ranks(shared, shape, single)
    assert torch.equal(first[0], second[0])
    torch.testing.assert_close(first[0], expected.detach())
    for mine, yours, gradient in zip(first[1:], second[1:], gradients, strict=True):
        torch.testing.assert_close(torch.cat([mine, yours]), gradient)


@shapes
def test_no_gradient_no_product_for_it(shape):
    """Of a view that takes none, and where nothing is trained at all."""
    counts = []

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), kwargs=None):
            counts[-1] += function.overloadpacket == torch.ops.aten.mm
            return function(*arguments, **(kwargs or {}))

    a, b = views(shape)
    for one, other in ((a, b), (a.detach(), b), (a.detach(), b.detach())):
        counts.append(0)
        with Count():
            off_diagonal_squares(one, other)
    assert [counts[0] - count for count in counts] == [0, 1, 2]


def test_sum_is_taken_in_parts(monkeypatch):
    """Whatever the number of rows at once, also where it does not divide them."""
    a, b = views((24, 7))
    whole = off_diagonal_squares(a, b)
    monkeypatch.setattr(covariance, "AT_ONCE", 15)
    torch.testing.assert_close(off_diagonal_squares(a, b), whole)


def unequal(single: bool) -> str:
    """What a rank with more samples than the other is told."""
    a, b = torch.randn(2, 12 if rank() else 2, 8)
    with pytest.raises(BatchError) as error:
        off_diagonal_squares(a, None if single else b)
    return str(error.value)


@pytest.mark.parametrize("single", [True, False])
def test_unequal_batches_are_refused_on_all_ranks(single, two_ranks):
    """One rank would go by samples and the other by dimensions, and both would wait."""
    first, second = two_ranks(unequal, single)
    assert first == second
    assert "[2, 12]" in first
