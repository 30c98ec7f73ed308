"""What micro-batches leave is taken once, and only what training leaves."""

from __future__ import annotations

import torch

from ssl_registry.nn import StepCollector, not_collecting


def test_parts_are_concatenated_in_their_order():
    """And forgotten when taken."""
    collector = StepCollector()
    collector.collect(torch.ones(2, 3))
    collector.collect(torch.zeros(1, 3))
    assert torch.equal(collector.take(), torch.tensor([[1.0] * 3, [1.0] * 3, [0.0] * 3]))
    assert collector.take() is None


def test_nothing_keeps_a_graph():
    """What is collected has no gradient."""
    collector = StepCollector()
    collector.collect(torch.ones(2, 3, requires_grad=True) * 2)
    assert not collector.take().requires_grad


def test_evaluation_leaves_nothing():
    """A validation between the micro-batches of a step is not part of it."""
    collector = StepCollector().eval()
    collector.collect(torch.ones(2, 3))
    assert collector.take() is None


def test_loss_that_is_computed_again_leaves_nothing():
    """Inside the block nothing is kept; what was collected before, and what comes after, is."""
    collector = StepCollector()
    collector.collect(torch.ones(1, 2))
    with not_collecting():
        collector.collect(torch.full((1, 2), 7.0))
    collector.collect(torch.zeros(1, 2))
    assert torch.equal(collector.take(), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


def test_loading_a_checkpoint_forgets():
    """A run that resumes inside a group of micro-batches repeats the group from its start."""
    collector = StepCollector()
    collector.collect(torch.ones(2, 3))
    collector.load_state_dict({})
    assert collector.take() is None
