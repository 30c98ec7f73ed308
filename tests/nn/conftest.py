"""Fixtures for blocks: two processes that train together, and a CUDA device that computes nothing."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch._subclasses import FakeTensorMode

from ssl_registry.testing.processes import PRELOAD

WORLD = 2


def serve(rank: int, folder: str, pipe: Connection) -> None:
    """Join the group, then do what arrives until None does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD, timeout=timedelta(minutes=2))
    while (work := pipe.recv()) is not None:
        function, arguments = work
        try:
            pipe.send((function(*arguments), None))
        except Exception:
            pipe.send((None, traceback.format_exc()))
    dist.destroy_process_group()


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[Any]]]:
    """Call a function of a test module in two processes (gloo) and return what each returned.

    The processes start once, because importing torch takes longer than all these tests.
    """
    folder = str(tmp_path_factory.mktemp("ranks"))
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    pipes, processes = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        patch.setenv("OMP_NUM_THREADS", "1")
        for rank in range(WORLD):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(rank, folder, there), daemon=True)
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)

    def call(function: Callable[..., Any], *arguments: Any) -> list[Any]:
        for pipe in pipes:
            pipe.send((function, arguments))
        answers = [pipe.recv() for pipe in pipes]
        if errors := [error for _, error in answers if error]:
            pytest.fail("\n".join(errors))
        return [result for result, _ in answers]

    yield call
    for pipe in pipes:
        pipe.send(None)
    for process in processes:
        process.join(timeout=30)


@pytest.fixture
def fake_cuda() -> Iterator[None]:
    """Make every new tensor a fake one on CUDA: a wait for the device raises, and so does a tensor on the host.

    For the forward pass alone: backward asks for a real device.
    """
    with FakeTensorMode(), torch.device("cuda"):
        yield
