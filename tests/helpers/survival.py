"""Runs in processes of their own that can be killed at any moment; what `test_survival` works with."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import torch

# A network that trains in a blink; dropout and BatchNorm make its end depend on every random number and buffer.
NET = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1),
                         nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""
ARGV = (
    *("train", "simclr", "--backbone", "net.py:Tiny", "--batch_size", "64", "--epochs", "4", "--projection_dim", "8"),
    *("--lr_schedule", "cosine", "--trainer.enable_progress_bar", "false", "--knn", "false", "--report", "false"),
)


def context() -> Any:
    """Return where processes come from: a server that has everything imported, so that each starts at once."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["ssl_registry.workflows.train", "ssl_registry.cli.train", "ssl_registry_simclr"])
    return found


def start(
    folder: Path,
    *argv: str,
    words: tuple[str, ...] = ARGV,
    limit: int | None = None,
    variables: dict[str, str] | None = None,
) -> Any:
    """Start the command in a folder.

    Args:
        folder: where it runs.
        *argv: arguments behind ``words``.
        words: the command.
        limit: the largest file it can write, in bytes, as on a full disk.
        variables: of its environment, such as its rank.
    """
    process = context().Process(target=_run, args=(str(folder), [*words, *argv], limit, variables or {}))
    process.start()
    return process


def _run(folder: str, argv: list[str], limit: int | None, variables: dict[str, str]) -> None:
    import resource
    import sys
    import warnings

    from ssl_registry.cli import main

    warnings.simplefilter("ignore")
    # Workers are forked, as those of a command are: this process's own way would give them the server for a parent, and
    # they would outlive a run that was killed.
    multiprocessing.set_start_method("fork", force=True)
    os.environ.update(variables)
    os.chdir(folder)
    with open("err.txt", "a") as err, open(os.devnull, "w") as out:
        sys.stdout, sys.stderr = out, err
        os.dup2(err.fileno(), 2)  # for what holds the stream that was there before
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        code = main(argv)
        err.flush()
        os._exit(code)


def finish(process: Any) -> int:
    """Wait for its end and return the exit code, negative for a signal."""
    process.join()
    code: int = process.exitcode
    return code


def timed(folder: Path, *argv: str) -> float:
    """Run the command to its end and return the seconds it took."""
    began = time.monotonic()
    assert finish(start(folder, *argv)) == 0, (folder / "err.txt").read_text()
    return time.monotonic() - began


def hold(folder: Path, seconds: float) -> None:
    """Hold a folder, and write the file ``held`` into it once it is held."""
    from ssl_registry._system.locking import lock_folder

    with lock_folder(folder):
        (folder / "held").write_text("")
        time.sleep(seconds)


def same(first: Any, second: Any) -> bool:
    """Whether two states are equal, bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)
