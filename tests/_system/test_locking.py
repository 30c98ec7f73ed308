"""One process at a time, and no longer than it lives."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys

import pytest
from filelock import Timeout

from ssl_registry._system.locking import lock_file, lock_folder
from ssl_registry.errors import ConfigError

unix = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked, and locks are flock's")

# Takes a folder, forks a worker as a loader does, and waits to be killed; the worker tells its number once it runs.
HOLDER = """
import multiprocessing, os, sys, time
from pathlib import Path
from ssl_registry._system.locking import lock_folder

def work():
    print(os.getpid(), flush=True)
    time.sleep(600)

with lock_folder(Path(sys.argv[1])):
    multiprocessing.get_context("fork").Process(target=work).start()
    time.sleep(600)
"""


def test_the_second_is_refused(tmp_path):
    """In words that say what to do; and once the first is done it is free."""
    with lock_folder(tmp_path), pytest.raises(ConfigError, match=r"another process is writing .* another --out"):
        lock_folder(tmp_path).__enter__()
    with lock_folder(tmp_path):
        pass


def test_a_lock_that_is_not_waited_for(tmp_path):
    """Is refused at once."""
    with lock_file(tmp_path / "x.lock"), pytest.raises(Timeout):
        lock_file(tmp_path / "x.lock", wait=False).__enter__()


@unix
def test_a_worker_that_outlives_its_run_holds_nothing(tmp_path):
    """After SIGKILL of the main process the folder is free, while its worker is still there."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    worker = int(holder.stdout.readline())
    try:
        with pytest.raises(ConfigError, match="another process is writing"):
            lock_folder(tmp_path).__enter__()
        holder.kill()
        holder.wait()
        os.kill(worker, 0)  # raises where there is no such process
        with lock_folder(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)
        holder.stdout.close()


@unix
@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(tmp_path, answer, monkeypatch, caplog):
    """The work is done all the same, with a warning that nothing keeps a second process out."""

    def flock(fd, operation):
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr("fcntl.flock", flock)
    done = []
    with caplog.at_level(logging.WARNING), lock_folder(tmp_path / "run"):
        done.append("run")
    assert done == ["run"]
    (record,) = caplog.records
    assert f"the file system of {tmp_path / 'run'} has no locks" in record.getMessage()


@pytest.mark.parametrize("name", ["file/run", "file"])
def test_a_place_that_cannot_be_written(tmp_path, name):
    """Is one line with what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write in .*; give another --out"):
        lock_folder(tmp_path / name).__enter__()
