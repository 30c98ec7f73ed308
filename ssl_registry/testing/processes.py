"""A function in two processes that talk over gloo, and what became of each."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

__all__ = ["SILENT", "WORLD", "Outcome", "run_in_two"]

WORLD = 2
SILENT = "the process crashed"
# What the server of new processes imports once, so that each of them begins at once.
PRELOAD = ["lightning.pytorch", "ssl_registry.model.module", "ssl_registry.testing.subject"]


@dataclass(frozen=True)
class Outcome:
    """What became of one process.

    Args:
        value: what the function returned: tensors and plain values.
        error: what it raised, ``Type: message``; empty when it returned.
        hung: whether it had to be ended.
    """

    value: Any = None
    error: str = ""
    hung: bool = False


def run_in_two(function: Callable[..., Any], *arguments: Any, timeout: float = 120, grace: float = 30) -> list[Outcome]:
    """Call ``function(rank, *arguments)`` in two processes of one gloo group.

    Args:
        function: of a module, so that the processes can import it.
        *arguments: are pickled.
        timeout: seconds for all.
        grace: seconds that the others have once one has failed.

    Returns:
        What became of rank 0 and rank 1.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with tempfile.TemporaryDirectory() as folder:
        processes = [context.Process(target=_work, args=(rank, folder, function, arguments)) for rank in range(WORLD)]
        try:
            for process in processes:
                process.start()
            deadline = time.monotonic() + timeout
            while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
                if any(process.exitcode for process in processes):
                    deadline = min(deadline, time.monotonic() + grace)
                    grace = timeout  # the deadline moves once
                time.sleep(0.05)
            hung = [process.is_alive() for process in processes]
        finally:
            for process in processes:
                if process.pid is not None:  # it was started
                    process.kill()
                    process.join()
        return [_outcome(Path(folder) / f"{rank}.pt", hung[rank]) for rank in range(WORLD)]


def _outcome(path: Path, hung: bool) -> Outcome:
    if hung:
        return Outcome(hung=True)
    if not path.is_file():
        printed = path.with_suffix(".err")
        words = printed.read_text(errors="replace").strip() if printed.is_file() else "before it began"
        return Outcome(error=f"{SILENT}: {words.splitlines()[-1] if words else 'without a word'}")
    return Outcome(**torch.load(path, weights_only=True))


def _end_with_parent() -> None:
    """End this process when the one that asked for it has gone, even if it was killed.

    Its parent in the system's eyes is multiprocessing's server, which does not take its children with it.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in processes of `run_in_two` alone
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _work(rank: int, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What each process does."""
    import torch.distributed as dist

    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What libraries print there is kept for a crash, which leaves nothing else.
    os.dup2(os.open(f"{folder}/{rank}.err", os.O_WRONLY | os.O_CREAT), 2)
    torch.set_num_threads(1)
    os.environ |= {
        "GLOO_SOCKET_IFNAME": "lo",
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(WORLD),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",  # unused: the processes meet in a file
    }
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", meet, rank=rank, world_size=WORLD, timeout=timedelta(seconds=60))
    path, beside = Path(folder) / f"{rank}.pt", Path(folder) / f"{rank}.part"
    try:
        found = {"value": function(rank, *arguments)}
    except BaseException as error:
        torch.save({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}, beside)
        beside.replace(path)
        # At once: the others learn of it by the closed connection, as they would of a crash.
        os._exit(1)
    torch.save(found, beside)
    beside.replace(path)
    dist.destroy_process_group()
