"""The cross-entropy of masked patches is iBOT's: a mean over a view's patches, and over views."""

from __future__ import annotations

import math

import pytest
import torch

from ssl_registry.nn import masked_entropy, view_block_masks


def example(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    chosen = view_block_masks(2, 5, (4, 6), generator=generator)
    targets = torch.randn(len(chosen.places), 7, generator=generator, dtype=dtype).softmax(1)
    logits = torch.randn(len(chosen.places), 7, generator=generator, dtype=dtype)
    return chosen, targets, logits


def test_is_the_papers_number_by_number():
    """Equation 2, patch by patch, image by image; an image without masked patches counts as 0."""
    chosen, targets, logits = example()
    rows, total = iter(range(len(targets))), 0.0
    for image in chosen.mask.tolist():
        terms = []
        for _ in range(sum(image)):
            row = next(rows)
            scaled = [value / 0.2 for value in logits[row].tolist()]
            norm = math.log(sum(map(math.exp, scaled)))
            terms.append(-sum(t * (s - norm) for t, s in zip(targets[row].tolist(), scaled, strict=True)))
        total += sum(terms) / len(terms) if terms else 0.0
    found = masked_entropy(targets, logits, chosen.weights.double(), temperature=0.2)
    assert found.item() == pytest.approx(total / 10, rel=1e-6)


def test_gradient_is_autograds_and_targets_have_none():
    """Checked numerically in float64."""
    chosen, targets, logits = example()
    targets.requires_grad_()
    logits.requires_grad_()
    weights = chosen.weights.double()
    assert torch.autograd.gradcheck(lambda x: masked_entropy(targets, x, weights, temperature=0.3), (logits,))
    masked_entropy(targets, logits, weights, temperature=0.3).backward()
    assert targets.grad is None


def test_nothing_masked_is_zero():
    """A loss that can be added, with a gradient of no patch."""
    empty = torch.zeros(0, 3, requires_grad=True)
    loss = masked_entropy(torch.zeros(0, 3), empty, torch.zeros(0), temperature=0.1)
    loss.backward()
    assert loss.item() == 0


def test_half_precision_is_computed_in_float32():
    """Also under autocast."""
    chosen, targets, logits = example(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = masked_entropy(targets, logits.bfloat16(), chosen.weights, temperature=0.1)
    assert found.dtype == torch.float32
    exact = masked_entropy(targets, logits.bfloat16().float(), chosen.weights, temperature=0.1)
    torch.testing.assert_close(found, exact)


@pytest.mark.parametrize(
    ("targets", "logits", "weights", "temperature", "words"),
    [
        ((2, 3), (2, 4), (2,), 0.1, r"\[M, K\]"),
        ((2, 3), (2, 3), (3,), 0.1, r"\[M, K\]"),
        ((2, 3), (2, 3), (2,), 0.0, "temperature"),
    ],
)
def test_what_does_not_fit_is_refused(targets, logits, weights, temperature, words):
    """Shapes and temperature."""
    with pytest.raises(ValueError, match=words):
        masked_entropy(torch.zeros(targets), torch.zeros(logits), torch.zeros(weights), temperature=temperature)
