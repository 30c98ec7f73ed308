"""The queue keeps the newest vectors of all ranks, moves once a step, and resumes exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn import Queue, queue, rank


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def test_begins_with_random_directions():
    """Of length 1, and marked as not filled."""
    empty = Queue(5, 3)
    torch.testing.assert_close(empty.values.norm(dim=1), torch.ones(5))
    assert not empty.filled.any()


def test_oldest_are_replaced_first():
    """The queue wraps around, also where a batch is larger than what is left."""
    full = Queue(5, 1)
    full.enqueue(column(1, 2, 3))
    assert full.values[:3, 0].tolist() == [1, 2, 3]
    assert full.filled.tolist() == [True, True, True, False, False]
    full.enqueue(column(4, 5, 6))
    assert full.values[:, 0].tolist() == [6, 2, 3, 4, 5]
    assert full.filled.all()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(1, 7), st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_holds_the_newest(size, batches):
    """Whatever the sizes of batches, those larger than the queue included."""
    full, seen = Queue(size, 1), []
    for count in batches:
        new = [float(len(seen) + 1 + i) for i in range(count)]
        seen += new
        full.enqueue(torch.tensor(new)[:, None])
    assert sorted(full.values[full.filled][:, 0].tolist()) == seen[-size:]


def test_moves_once_a_step():
    """With all micro-batches of the step, at its end."""
    full = Queue(4, 1)
    before = full.values.clone()
    full.collect(column(1, 2))
    full.collect(column(3))
    assert torch.equal(full.values, before)
    full.update()
    assert full.values[:3, 0].tolist() == [1, 2, 3]
    full.update()
    assert full.enqueued == 3


def test_evaluation_leaves_it_alone():
    """Held-out samples do not come in."""
    full = Queue(4, 1).eval()
    full.collect(column(1, 2))
    full.update()
    assert not full.filled.any()


def test_resumes_exactly():
    """Another queue that loads the state goes on as this one does."""
    first, second = Queue(4, 1), Queue(4, 1)
    first.enqueue(column(1, 2, 3))
    second.load_state_dict(first.state_dict())
    for each in (first, second):
        each.enqueue(column(4, 5))
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.filled, second.filled)


def test_nearest_is_by_direction():
    """The vector with the largest cosine, whatever the lengths, as it is in the queue."""
    full = Queue(3, 2)
    full.enqueue(torch.tensor([[0.1, 0.0], [0.0, 5.0], [-1.0, 0.0]]))
    found = full.nearest(torch.tensor([[9.0, 1.0], [1.0, 1.5]]))
    assert torch.equal(found, torch.tensor([[0.1, 0.0], [0.0, 5.0]]))


def test_nearest_in_parts_is_the_same(monkeypatch):
    """A large batch is compared a few samples at a time."""
    full, x = Queue(11, 4), torch.randn(7, 4)
    expected = full.values[(F.normalize(x, dim=1) @ full.values.T).argmax(1)]
    assert torch.equal(full.nearest(x), expected)
    monkeypatch.setattr(queue, "SIMILARITIES_AT_ONCE", 22)
    assert torch.equal(full.nearest(x), expected)


def test_nearest_has_no_gradient_and_full_precision():
    """Under autocast the cosines are still compared in float32."""
    full, x = Queue(200, 8), torch.randn(50, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = full.nearest(x)
    assert torch.equal(found, full.nearest(x.detach()))
    assert not found.requires_grad


@pytest.mark.parametrize("name", ["size", "dim"])
def test_empty_sizes_are_refused(name):
    """A size of zero is named."""
    with pytest.raises(ValueError, match=f"{name}=0"):
        Queue(**{"size": 2, "dim": 3, name: 0})


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device():
    """Neither to find the place of what comes in, nor to look for neighbours."""
    full = Queue(5, 3)
    x = torch.randn(4, 3)
    full.collect(x)
    full.update()
    assert full.nearest(x).device.type == full.filled.device.type == "cuda"


def fed() -> Tensor:
    torch.manual_seed(0)
    full = Queue(6, 1)
    for step in range(2):
        full.collect(column(10.0 * step + rank()))
        full.collect(column(10.0 * step + rank() + 2))
        full.update()
    return full.values


def test_two_processes_hold_the_same(two_ranks):
    """Vectors of all ranks, in the order of ranks."""
    first, second = two_ranks(fed)
    assert torch.equal(first, second)
    assert first[:, 0].tolist() == [11, 13, 1, 3, 10, 12]
