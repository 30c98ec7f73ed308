"""The order of training batches: a pure function, and nobody else's random numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, SequentialSampler, Subset

from ssl_registry.data.loading.loader import ResumableLoader, training_loader
from ssl_registry.data.samples import Samples
from ssl_registry.data.sampling import EpochSampler
from ssl_registry.errors import CheckpointError

# Python 3.12 warns of every fork of a process with threads, and torch has threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def numbers(count: int) -> Samples:
    return Samples(torch.arange(count))


def epoch(loader: ResumableLoader, number: int = 0) -> list[list[int]]:
    loader.sampler.set_epoch(number)
    return [batch.tolist() for batch in loader]


def build(count: int = 26, **options: Any) -> ResumableLoader:
    return training_loader(numbers(count), **{"batch_size": 5, "seed": 3, **options})


def test_same_arguments_same_batches() -> None:
    """Two loaders agree, in every epoch; epochs and seeds differ."""
    first, second = build(), build()
    assert epoch(first, 4) == epoch(second, 4)
    assert epoch(first, 4) != epoch(first, 5)
    assert epoch(build(seed=4), 4) != epoch(first, 4)


def test_seeds_do_not_share_epochs() -> None:
    """The second epoch of one seed is not the first of the next."""
    assert epoch(build(seed=0), 1) != epoch(build(seed=1), 0)


def test_workers_change_nothing() -> None:
    """Batches come in the same order from two processes as from none, epoch after epoch."""
    alone, helped = build(), build(num_workers=2)
    assert [epoch(helped, number) for number in range(2)] == [epoch(alone, number) for number in range(2)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_global_generator_is_untouched(num_workers: int) -> None:
    """Shuffling and seeding workers draw nothing from torch's global generator."""
    before = torch.get_rng_state()
    epoch(build(num_workers=num_workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_full_batches_only() -> None:
    """The remainder of an epoch is left out where there is a full batch."""
    assert [len(batch) for batch in epoch(build(26))] == [5, 5, 5, 5, 5]
    assert len(build(26)) == 5


def test_small_set_gives_one_smaller_batch() -> None:
    """A set smaller than a batch is one batch."""
    (batch,) = epoch(build(3))
    assert sorted(batch) == [0, 1, 2]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(0, 3))
def test_ranks_share_an_epoch(count: int, batch_size: int, world_size: int, number: int) -> None:
    """Ranks take as many steps as each other, see different samples, and together what one process would."""
    loaders = [
        training_loader(numbers(count), batch_size=batch_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    shares = [epoch(loader, number) for loader in loaders]
    assert len({tuple(map(len, share)) for share in shares}) == 1
    assert all(len(share) == len(loader) > 0 for share, loader in zip(shares, loaders, strict=True))
    seen = [sample for share in shares for batch in share for sample in batch]
    if count >= batch_size * world_size:
        assert len(seen) == len(set(seen)) == count // world_size // batch_size * batch_size * world_size
    else:
        assert set(seen) == set(range(count))
        assert len(seen) < count + world_size


def test_continues_after_the_batches_done() -> None:
    """A loader that loads the state of another gives what was to come."""
    first = build()
    first.sampler.set_epoch(2)
    batches = iter(first)
    done = [next(batches).tolist() for _ in range(2)]
    second = build()
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    assert done + epoch(second, 2) == epoch(build(), 2)


def test_state_is_plain_numbers() -> None:
    """Checkpoints are read with weights_only: the state holds nothing but int."""
    loader = build()
    epoch(loader, 1)
    state = loader.state_dict()
    assert state["epoch"] == 1
    assert state["batches"] == 5
    assert all(type(value) is int for value in state.values())


def test_position_belongs_to_its_epoch() -> None:
    """A position at an epoch's end does not shorten the next epoch."""
    first = build()
    epoch(first, 0)
    second = build()
    second.load_state_dict(first.state_dict())
    assert epoch(second, 1) == epoch(build(), 1)


def test_position_is_used_once() -> None:
    """Only the next iterator continues; the one after it starts anew."""
    first = build()
    next(iter(first))
    second = build()
    second.load_state_dict(first.state_dict())
    assert len(epoch(second)) == 4
    assert epoch(second) == epoch(build())


def test_epoch_is_taken_up_late() -> None:
    """Lightning makes the iterator first and tells the epoch after."""
    loader = build()
    batches = iter(loader)
    loader.sampler.set_epoch(7)
    assert [batch.tolist() for batch in batches] == epoch(build(), 7)


@pytest.mark.parametrize("other", [{"batch_size": 4}, {"seed": 9}, {"world_size": 2}, {"count": 27}])
def test_other_order_is_refused(other: dict[str, int]) -> None:
    """A position inside an epoch means nothing in another order."""
    first = build()
    next(iter(first))
    second = build(**other)
    with pytest.raises(CheckpointError, match="1 batches done"):
        second.load_state_dict(first.state_dict())


def test_other_order_is_welcome_between_epochs() -> None:
    """After a whole epoch nothing is left to continue."""
    first = build()
    epoch(first, 0)
    second = build(batch_size=4)
    second.load_state_dict(first.state_dict())
    assert epoch(second, 1) == epoch(build(batch_size=4), 1)


def test_another_sampler_may_take_the_place() -> None:
    """Lightning's overfit_batches puts a sequential sampler in; positions work with it too."""
    data = numbers(10)
    first = ResumableLoader(data, SequentialSampler(data), batch_size=4)
    next(iter(first))
    second = ResumableLoader(data, SequentialSampler(data), batch_size=4)
    second.load_state_dict(first.state_dict())
    assert [batch.tolist() for batch in second] == [[4, 5, 6, 7], [8, 9]]


def test_sampler_is_left_alone_by_lightning() -> None:
    """Under DDP Lightning wraps every sampler but a DistributedSampler."""
    assert isinstance(build().sampler, torch.utils.data.DistributedSampler)
    assert isinstance(build().sampler, EpochSampler)


def test_batches_in_memory_need_no_collate_function() -> None:
    """Any DataLoader over samples in memory, or a subset of them, gives whole batches."""
    data = Samples(torch.arange(6.0).view(6, 1), torch.arange(6))
    x, y = next(iter(DataLoader(data, batch_size=3)))
    assert x.tolist() == [[0.0], [1.0], [2.0]]
    assert y.tolist() == [0, 1, 2]
    x, y = next(iter(DataLoader(Subset(data, [5, 3]), batch_size=2)))
    assert y.tolist() == [5, 3]
