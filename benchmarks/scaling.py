"""Two processes against one, at the same batch for each: samples a second, and the loss's own cost and memory.

python benchmarks/scaling.py runs 1 and 2 processes over gloo; under torchrun it measures whatever was started.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from harness import Measured, arguments, write
from ssl_registry_simclr import NTXentLoss
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from ssl_registry.nn import MLP

SECTION = "Processes: SimCLR's loss and head under DDP, one thread each"
ROWS = 1024  # samples a process
DIM = 128


class Network(nn.Module):
    """A head and the loss over all processes, in one forward as DDP wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = MLP(512, 512, DIM)
        self.loss = NTXentLoss(0.5)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map [2, samples, 512] to the loss."""
        z0, z1 = (self.head(view) for view in features)
        return self.loss(z0, z1)


def step_seconds(rounds: int, device: str) -> list[float]:
    """Return the seconds of steps, as this process sees them."""
    torch.manual_seed(0)
    network: nn.Module = Network().to(device)
    if dist.is_initialized():
        network = DistributedDataParallel(network)
    features = torch.randn(2, ROWS, 512, device=device)
    seconds = []
    for _ in range(rounds + 2):
        started = time.perf_counter()
        network.zero_grad()
        network(features).backward()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds[2:]


def work(rank: int, world: int, folder: str, rounds: int) -> None:
    """Be one of ``world`` processes; the first leaves its times behind."""
    torch.set_num_threads(1)
    if world > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        meet = f"file://{folder}/meet-{world}"
        dist.init_process_group("gloo", meet, rank=rank, world_size=world, timeout=timedelta(minutes=2))
    seconds = step_seconds(rounds, "cpu")
    if rank == 0:
        torch.save(seconds, f"{folder}/{world}.pt")
    if world > 1:
        dist.destroy_process_group()


def rows(seconds: dict[int, list[float]]) -> list[Measured]:
    found = []
    own = statistics.median(next(iter(seconds.values())))
    for world, times in seconds.items():
        low, median, high = statistics.quantiles(times, n=4, method="inclusive")
        who = f"{world} process{'es' if world > 1 else ''}: {2 * ROWS} rows of {2 * ROWS * world}"
        found.append(Measured(SECTION, f"{ROWS} samples a process", who, median, low, high, median / own))
    return found


def main() -> None:
    options = arguments(__doc__)
    if "WORLD_SIZE" in os.environ:  # torchrun
        cuda = options.device.startswith("cuda")
        dist.init_process_group("nccl" if cuda else "gloo")
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        found = rows({dist.get_world_size(): step_seconds(options.rounds, options.device)})
        first = dist.get_rank() == 0
        dist.destroy_process_group()
    else:
        seconds = {}
        with tempfile.TemporaryDirectory() as folder:
            for world in (1, 2):
                multiprocessing.spawn(work, (world, folder, options.rounds), nprocs=world)
                seconds[world] = torch.load(f"{folder}/{world}.pt")
        found, first = rows(seconds), True
    if first:
        for row in found:
            print(f"{row.who:<40}{1e3 * row.seconds:>9.1f} ms a step{row.ratio:>8.2f} times one process")
        write(found, options)


if __name__ == "__main__":
    main()
