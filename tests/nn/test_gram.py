"""The Gram loss is DINOv3's; patches are brought to another grid as its code does."""

from __future__ import annotations

import math

import pytest
import torch

from ssl_registry.nn import gram_loss, resize_patches


def patches(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    norm = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm


def test_is_the_papers_number_by_number():
    """Equation 2 over every pair of patches of an image; teacher and student may differ in width."""
    student, teacher = patches(2, 4, 3), patches(2, 4, 5, seed=1)
    terms = []
    for ours, theirs in zip(student.tolist(), teacher.tolist(), strict=True):
        terms += [(cosine(ours[i], ours[j]) - cosine(theirs[i], theirs[j])) ** 2 for i in range(4) for j in range(4)]
    assert gram_loss(student, teacher).item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)


def test_turning_all_features_changes_nothing():
    """What the paper wants: features are free, their similarities are not."""
    student = patches(2, 5, 4)
    turn, _ = torch.linalg.qr(patches(4, 4, seed=2))
    assert gram_loss(student, 7 * student @ turn).item() == pytest.approx(0, abs=1e-24)


def test_gradient_is_the_students_alone():
    """Checked numerically in float64."""
    student, teacher = patches(2, 4, 3).requires_grad_(), patches(2, 4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: gram_loss(x, teacher), (student,))
    gram_loss(student, teacher).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Squares of 300 overflow float16: not here, nor under autocast."""
    student, teacher = ((300 * patches(2, 6, 8, seed=seed)).to(dtype) for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        found = gram_loss(student, teacher)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), gram_loss(student.double(), teacher.double()), rtol=1e-5, atol=1e-6)


def test_resizing_keeps_constants_and_slopes():
    """Half of a grid of rectangles: a plane stays the plane, sampled in the middle of two by two patches."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(12.0), indexing="ij")
    plane = torch.stack([rows, columns, torch.ones(8, 12)], 2).reshape(1, 96, 3)
    found = resize_patches(plane, (8, 12), (4, 6)).view(4, 6, 3)
    inner = found[1:-1, 1:-1]  # at the rim the filter repeats the last row
    torch.testing.assert_close(inner[..., 0], (2 * torch.arange(1.0, 3) + 0.5).view(-1, 1).expand(2, 4))
    torch.testing.assert_close(inner[..., 1], (2 * torch.arange(1.0, 5) + 0.5).expand(2, 4))
    torch.testing.assert_close(found[..., 2], torch.ones(4, 6))


def test_what_does_not_fit_is_refused():
    """Other numbers of patches."""
    with pytest.raises(ValueError, match="resize_patches"):
        gram_loss(torch.zeros(2, 4, 3), torch.zeros(2, 16, 3))
    with pytest.raises(ValueError, match="no grid of"):
        resize_patches(torch.zeros(2, 15, 3), (4, 4), (2, 2))
