"""The cross-entropy between views: the formula in float64, its gradient, and what it does not make."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn import cross_view_entropy

counts = pytest.mark.parametrize(("assigned", "views"), [(2, 2), (2, 5), (1, 3), (3, 3)])


def inputs(assigned: int, views: int, batch: int = 4, width: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(assigned, batch, width, dtype=torch.float64, generator=generator)
    logits = torch.randn(views, batch, width, dtype=torch.float64, generator=generator)
    return targets / targets.sum(2, keepdim=True), logits.requires_grad_()


def formula(targets: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """A loop over pairs and samples."""
    terms = [
        -sum(t * p for t, p in zip(targets[i, n], (logits[j, n] / temperature).log_softmax(0), strict=True))
        for i in range(len(targets))
        for j in range(len(logits))
        if i != j
        for n in range(logits.shape[1])
    ]
    return torch.stack(terms).mean()


@counts
def test_is_the_formula(assigned, views):
    """Value and gradient, also where the loss is weighted afterwards."""
    targets, logits = inputs(assigned, views)
    found, expected = cross_view_entropy(targets, logits, temperature=0.3), formula(targets, logits, 0.3)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(3 * loss, logits)[0] for loss in (found, expected))
    torch.testing.assert_close(*gradients)


def test_targets_get_no_gradient():
    """They are given."""
    targets, logits = inputs(2, 3)
    targets.requires_grad_()
    cross_view_entropy(targets, logits, temperature=0.3).backward()
    assert targets.grad is None


def test_large_logits():
    """Nothing overflows, and certainty costs nothing."""
    logits = torch.tensor([[[1e4, 0.0]], [[1e4, 0.0]]])
    right, wrong = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    assert cross_view_entropy(right, logits, temperature=0.1) == 0
    assert cross_view_entropy(wrong, logits, temperature=0.1) == pytest.approx(1e5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Also under autocast; the gradient comes back as the logits are."""
    targets, logits = inputs(2, 3)
    half = logits.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = cross_view_entropy(targets.float(), half, temperature=0.1)
    found.backward()
    assert (found.dtype, half.grad.dtype) == (torch.float32, dtype)
    torch.testing.assert_close(found.double(), formula(targets, half.double(), 0.1), rtol=1e-5, atol=1e-5)


def test_logits_are_left_alone():
    """The gradient is made in a tensor of its own."""
    targets, logits = inputs(2, 3)
    before = logits.detach().clone()
    cross_view_entropy(targets, logits, temperature=1.0).backward()
    assert torch.equal(before, logits)


def test_one_tensor_of_the_logits_size_is_made_on_the_way():
    """A second one is the gradient that is handed back."""
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), kwargs=None):
            out = function(*arguments, **(kwargs or {}))
            mine = {id(x) for x in arguments}  # in place
            if isinstance(out, Tensor) and id(out) not in mine and not out._is_view():
                sizes.append(out.numel())
            return out

    targets, logits = inputs(2, 8, width=100)
    with Watch():
        loss = cross_view_entropy(targets, logits, temperature=0.1)
    assert sizes.count(logits.numel()) == 1
    with Watch():
        torch.autograd.grad(loss, logits)
    assert sizes.count(logits.numel()) == 2


def test_equals_the_usual_cross_entropy():
    """Of one target and one other view."""
    targets, logits = inputs(1, 2)
    found = cross_view_entropy(targets, logits, temperature=1.0)
    torch.testing.assert_close(found, F.cross_entropy(logits[1], targets[0]))


@pytest.mark.parametrize(
    ("targets", "logits", "temperature", "words"),
    [
        ((2, 4, 3), (3, 4, 3), 0.0, "above 0"),
        ((4, 4, 3), (3, 4, 3), 0.1, r"\[4, 4, 3\]"),
        ((2, 4, 2), (3, 4, 3), 0.1, r"\[3, 4, 3\]"),
        ((0, 4, 3), (3, 4, 3), 0.1, "targets"),
        ((1, 4, 3), (1, 4, 3), 0.1, "at least two"),
    ],
)
def test_mistakes(targets, logits, temperature, words):
    """Told with the shapes."""
    with pytest.raises(ValueError, match=words):
        cross_view_entropy(torch.ones(targets), torch.ones(logits), temperature=temperature)


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device():
    """Nor is made on the host."""
    assert cross_view_entropy(torch.rand(2, 4, 3), torch.rand(5, 4, 3), temperature=0.1).device.type == "cuda"
