"""Two processes of one group: what they return, what they raise, and that they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def tell_and_wait(number, folder):
    (Path(folder) / f"{number}").write_text(str(os.getpid()))
    time.sleep(300)


CALLER = "import sys; from tests.testing.test_processes import *; run_in_two(tell_and_wait, sys.argv[1], timeout=300)"


def is_running(pid):
    """Zombies, whose parent has not asked for them, count as ended."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which processes run")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_caller(tmp_path, how):
    """Whether that was killed or interrupted."""
    caller = subprocess.Popen([sys.executable, "-c", CALLER, tmp_path], cwd=Path(__file__).parents[2])
    files = [tmp_path / "0", tmp_path / "1"]
    until = time.monotonic() + 240  # a server of processes has torch to import
    while not all(file.is_file() and file.read_text() for file in files):
        assert time.monotonic() < until
        time.sleep(0.1)
    caller.send_signal(how)
    caller.wait(20)
    until = time.monotonic() + 20
    while running := [file.read_text() for file in files if is_running(file.read_text())]:
        assert time.monotonic() < until, running
        time.sleep(0.1)
