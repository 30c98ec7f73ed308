"""InfoNCE: the formula in float64, with negatives and over the batch, over one rank and two."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_registry.nn import contrast, info_nce, rank, world_size


def vectors(*counts: int, dim: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, dim, dtype=torch.float64, generator=generator).requires_grad_() for count in counts]


def formula(queries: Tensor, keys: Tensor, among: Tensor | None, temperature: float) -> Tensor:
    """Row by row, as the papers write it."""

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b) / (a.norm() * b.norm()) / temperature

    losses = []
    for q, own in zip(queries, keys, strict=True):
        others = keys if among is None else [own, *among]
        total = torch.stack([similarity(q, k).exp() for k in others]).sum()
        losses.append(-(similarity(q, own).exp() / total).log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("with_negatives", "at_once"), [(True, 1 << 22), (True, 20), (True, 1), (False, 20)])
def test_is_the_formula(with_negatives, at_once, monkeypatch):
    """Value and gradients of queries and keys, however many similarities are held at once."""
    monkeypatch.setattr(contrast, "SIMILARITIES_AT_ONCE", at_once)
    queries, keys, negatives = vectors(6, 6, 9)
    negatives = torch.nn.functional.normalize(negatives.detach(), dim=1) if with_negatives else None
    found = info_nce(queries, keys, temperature=0.3, negatives=negatives)
    expected = formula(queries, keys, negatives, 0.3)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(loss, (queries, keys)) for loss in (found, expected))
    torch.testing.assert_close(*gradients)


def test_far_apart_and_equal():
    """At a low temperature nothing overflows: the wrong key costs the whole distance, the right one nothing."""
    query = torch.tensor([[1.0, 0.0]])
    loss = info_nce(query, -query, temperature=0.01, negatives=query)
    assert loss.item() == pytest.approx(200)
    assert info_nce(query, query, temperature=0.01, negatives=-query).item() == pytest.approx(0, abs=1e-6)
    assert info_nce(query, query, temperature=0.01, negatives=query).item() == pytest.approx(math.log(2))


def test_without_gradient():
    """A loss to look at."""
    queries, keys, negatives = (x.detach() for x in vectors(6, 6, 9))
    assert not info_nce(queries, keys, temperature=0.3, negatives=negatives).requires_grad


@pytest.mark.parametrize("with_negatives", [True, False])
def test_half_precision_is_computed_in_float32(with_negatives):
    """Also under autocast."""
    queries, keys, negatives = (x.detach().to(torch.bfloat16) for x in vectors(6, 6, 9))
    negatives = torch.nn.functional.normalize(negatives.float(), dim=1) if with_negatives else None
    with torch.autocast("cpu", torch.bfloat16):
        found = info_nce(queries, keys, temperature=0.1, negatives=negatives)
    assert found.dtype == torch.float32
    expected = info_nce(queries.double(), keys.double(), temperature=0.1, negatives=negatives)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "temperature", "words"),
    [
        (((2, 3), (2, 3)), 0.0, "above 0"),
        (((2, 3), (3, 3)), 0.1, "the same"),
        (((0, 3), (0, 3)), 0.1, "the same"),
        (((2, 3), (2, 3), (4, 2)), 0.1, r"negatives \[4, 2\]"),
    ],
)
def test_mistakes(shapes, temperature, words):
    """Told with the shapes."""
    queries, keys, *rest = (torch.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match=words):
        info_nce(queries, keys, temperature=temperature, negatives=rest[0] if rest else None)


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device():
    """Nor is made on the host."""
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    assert info_nce(a, b, temperature=0.1).device.type == "cuda"
    assert info_nce(a, b, temperature=0.1, negatives=torch.randn(7, 3)).device.type == "cuda"


def shared() -> tuple[Tensor, Tensor, Tensor]:
    """The loss and gradients of half of the batch."""
    queries, keys = vectors(6, 6)
    rows = 6 // world_size()
    queries, keys = (x.detach()[rank() * rows : (rank() + 1) * rows].requires_grad_() for x in (queries, keys))
    loss = info_nce(queries, keys, temperature=0.3)
    loss.backward()
    return loss.detach(), queries.grad, keys.grad


def test_two_processes_are_one(two_ranks):
    """The mean of both ranks' losses is the global one, and so are the gradients, the keys' too."""
    queries, keys = vectors(6, 6)
    expected = formula(queries, keys, None, 0.3)
    gradients = torch.autograd.grad(expected, (queries, keys))
    first, second = two_ranks(shared)
    torch.testing.assert_close((first[0] + second[0]) / 2, expected.detach())
    for mine, yours, gradient in zip(first[1:], second[1:], gradients, strict=True):
        torch.testing.assert_close(torch.cat([mine, yours]) / 2, gradient)
