"""Two processes of one group: what they return, what they raise, and that they end."""

from __future__ import annotations

import os
import time

import pytest
import torch
import torch.distributed as dist

from ssl_registry.testing.processes import Outcome, run_in_two

pytestmark = pytest.mark.slow


def add_up(number, x):
    total = torch.tensor([number + x])
    dist.all_reduce(total)
    return {"total": total, "rank": number}


def fail_on_one(number):
    if number == 1:
        raise ValueError("no\n  luck")
    dist.barrier()


def crash_on_one(number):
    if number == 1:
        os.write(2, b"some\nout of luck\n")
        os._exit(3)
    dist.barrier()


def wait(number):
    if number == 1:
        time.sleep(60)


def test_values():
    """Both ranks' values, in order."""
    found = run_in_two(add_up, 10)
    assert [outcome.value["rank"] for outcome in found] == [0, 1]
    assert all(outcome.value["total"] == 21 for outcome in found)


def test_a_failure_ends_both():
    """The one that fails tells why, and the other hears of it."""
    zero, one = run_in_two(fail_on_one)
    assert one == Outcome(error="ValueError: no luck")
    assert zero.error
    assert not zero.hung


def test_a_crash_is_told():
    """With the last line that it printed."""
    zero, one = run_in_two(crash_on_one)
    assert one.error == "the process crashed: out of luck"
    assert zero.error


def test_what_hangs_is_ended():
    """After the time that it was given."""
    zero, one = run_in_two(wait, timeout=15)
    assert (zero.hung, one.hung) == (False, True)
