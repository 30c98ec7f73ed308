"""The center follows equation 4 of DINO once a step, over micro-batches and ranks of any size."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from ssl_registry.nn import Center, rank


def outputs(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_is_subtracted():
    """From outputs with any leading axes."""
    center = Center(3).double()
    center.value.copy_(torch.tensor([1.0, 2.0, 3.0]))
    x = outputs(8).view(2, 4, 3)
    assert torch.equal(center(x), x - torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))


def test_moves_by_the_papers_equation():
    """center <- m * center + (1 - m) * mean, over two steps."""
    center, expected = Center(3, momentum=0.7).double(), torch.zeros(3, dtype=torch.float64)
    for step in range(2):
        center.collect(outputs(5, step))
        center.update()
        expected = 0.7 * expected + 0.3 * outputs(5, step).mean(0)
    torch.testing.assert_close(center.value, expected)


def test_moves_once_a_step():
    """Micro-batches of unequal sizes count by their samples."""
    center = Center(3, momentum=0.7).double()
    for part in outputs(5).split([3, 2]):
        center.collect(part)
    assert not center.value.any()
    center.update()
    torch.testing.assert_close(center.value, 0.3 * outputs(5).mean(0))
    center.update()
    torch.testing.assert_close(center.value, 0.3 * outputs(5).mean(0))


def test_patches_count_like_samples():
    """Outputs [batch, patches, dim] are [batch * patches] outputs."""
    one, other = Center(3).double(), Center(3).double()
    one.collect(outputs(8).view(2, 4, 3))
    other.collect(outputs(8))
    one.update()
    other.update()
    assert torch.equal(one.value, other.value)


def test_step_without_outputs_leaves_it():
    """Where nothing was masked there is no mean, and no NaN."""
    center = Center(3).double()
    center.collect(outputs(5))
    center.update()
    before = center.value.clone()
    center.collect(outputs(0))
    center.update()
    assert torch.equal(center.value, before)


def test_evaluation_leaves_it_alone():
    """Held-out samples do not move it."""
    center = Center(3).double().eval()
    center.collect(outputs(5))
    center.update()
    assert not center.value.any()


def test_half_precision_is_added_up_in_float32():
    """In float16 the sum of this batch would overflow."""
    center = Center(1, momentum=0.0)
    center.collect(torch.full((4000, 1), 100.0, dtype=torch.float16))
    center.update()
    assert center.value.tolist() == [100.0]


def test_resumes_exactly():
    """The center is in the state dict; the unfinished step is not."""
    first = Center(3).double()
    first.collect(outputs(5))
    first.update()
    second = copy.deepcopy(first)
    second.collect(outputs(5, 7))
    second.load_state_dict(first.state_dict())
    for each in (first, second):
        each.collect(outputs(4, 1))
        each.update()
    assert torch.equal(first.value, second.value)


@pytest.mark.parametrize(
    ("options", "words"), [({"dim": 0}, "dim=0"), ({"dim": 2, "momentum": 1.1}, "between 0 and 1")]
)
def test_wrong_arguments_are_refused(options, words):
    """Each is named."""
    with pytest.raises(ValueError, match=words):
        Center(**options)


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device():
    """Nor does the question whether there were outputs."""
    center = Center(3)
    center.collect(torch.randn(4, 3))
    center.update()
    assert center(torch.randn(4, 3)).device.type == "cuda"


def moved(sizes: tuple[int, int]) -> Tensor:
    center = Center(3, momentum=0.7).double()
    center.collect(outputs(sum(sizes)).split(sizes)[rank()])
    center.update()
    return center.value


@pytest.mark.parametrize("sizes", [(3, 3), (4, 1)])
def test_two_processes_are_one(sizes, two_ranks):
    """The mean is that of the global batch, on both ranks, for batches of different sizes too."""
    for value in two_ranks(moved, sizes):
        torch.testing.assert_close(value, 0.3 * outputs(sum(sizes)).mean(0))
