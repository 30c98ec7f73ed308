"""NT-Xent in groups: the formula in float64, vector by vector, over one rank and two."""

from __future__ import annotations

import pytest
import torch

from ssl_registry.nn import nt_xent
from ssl_registry.testing.processes import run_in_two
from ssl_registry.testing.remote import values_of


def vectors(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def formula(a, b, temperature, normalize):
    """One group [N, dim], as the paper writes it: 2N vectors, of which each meets all but itself."""
    every = [*a, *b]
    if normalize:
        every = [v / v.norm() for v in every]
    n, total = len(a), 0
    for i, v in enumerate(every):
        exponentials = [(v @ other / temperature).exp() for k, other in enumerate(every) if k != i]
        total = total - ((v @ every[(i + n) % (2 * n)] / temperature).exp() / torch.stack(exponentials).sum()).log()
    return total / (2 * n)


@pytest.mark.parametrize("normalize", [True, False])
def test_is_the_formula_in_each_group(normalize):
    """Value and gradients; no vector meets one of another group."""
    a, b = vectors(3, 4, 5), vectors(3, 4, 5, seed=1)
    found = nt_xent(a, b, temperature=0.7, normalize=normalize, over_ranks=False)
    wanted = sum(formula(x, y, 0.7, normalize) for x, y in zip(a, b, strict=True)) / 3
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, (a, b)), torch.autograd.grad(wanted, (a, b)))


def test_large_products_in_half_precision():
    """Products of long vectors pass what half precision holds; the loss is taken in float32, also under autocast."""
    a = torch.full((2, 64), 60.0, dtype=torch.float16) * torch.tensor([[1.0], [-1.0]], dtype=torch.float16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(a, a, normalize=False)
    assert loss.dtype == torch.float32
    assert loss.item() == 0.0


def test_one_vector_has_nothing_to_learn():
    """Neither value nor gradient, and no NaN."""
    a, b = vectors(2, 1, 3), vectors(2, 1, 3, seed=1)
    loss = nt_xent(a, b)
    assert loss == 0
    for gradient in torch.autograd.grad(loss, (a, b)):
        assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("a", "b", "temperature", "words"),
    [
        (torch.ones(2, 3), torch.ones(3, 3), 1.0, r"a \[2, 3\] and b \[3, 3\]"),
        (torch.ones(0, 3), torch.ones(0, 3), 1.0, "not empty"),
        (torch.ones(2, 3), torch.ones(2, 3), 0.0, "temperature=0.0 must be above 0"),
    ],
)
def test_what_does_not_fit_is_refused(a, b, temperature, words):
    """In words that name shapes and values."""
    with pytest.raises(ValueError, match=words):
        nt_xent(a, b, temperature=temperature)


def _half(number, over_ranks):
    a, b = vectors(3, 6, 5), vectors(3, 6, 5, seed=1)
    mine = slice(3 * number, 3 * number + 3)
    loss = nt_xent(a[:, mine], b[:, mine], over_ranks=over_ranks)
    return loss.item(), [gradient / 2 for gradient in torch.autograd.grad(loss, (a, b))]


@pytest.mark.slow
@pytest.mark.parametrize("over_ranks", [True, False])
def test_two_ranks(over_ranks):
    """Over ranks, halves have the loss and the gradient of the whole; otherwise each rank has its own loss."""
    found = values_of(run_in_two(_half, over_ranks))
    a, b = vectors(3, 6, 5), vectors(3, 6, 5, seed=1)
    halves = [nt_xent(a[:, part], b[:, part]) for part in (slice(3), slice(3, 6))]
    wanted = nt_xent(a, b) if over_ranks else sum(halves) / 2
    assert sum(loss for loss, _ in found) / 2 == pytest.approx(wanted.item())
    for place, expected in enumerate(torch.autograd.grad(wanted, (a, b))):
        torch.testing.assert_close(sum(gradients[place] for _, gradients in found), expected)
