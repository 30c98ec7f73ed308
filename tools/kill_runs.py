"""Kill trainings at random moments and go on with them: `python tools/kill_runs.py`, about a quarter of an hour.

Each run is killed (SIGKILL, SIGTERM or SIGINT) at a moment anywhere between its start and its end, and resumed; what it
ends with is compared, bit for bit, with an undisturbed run. Every checkpoint that a kill leaves is read. Prints a row a
kind of run; exit code 1 if one was refused, half-written or ended elsewhere.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing.connection
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/helpers")]

import survival  # type: ignore[import-not-found]  # noqa: E402  # found by the line above

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")
COMMON = (
    *(
        "--backbone",
        "net.py:Tiny",
        "--data",
        "digits",
        "--epochs",
        "4",
        "--batch_size",
        "64",
        "--lr_schedule",
        "cosine",
    ),
    *("--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--report", "false"),
    *("--probe_budget", "1000", "--probe_samples", "200", "--workers", "0"),
)
ACCUMULATE = ("--trainer.accumulate_grad_batches", "2")
MOCO = ("moco", "--queue_size", "256", "--hidden_dim", "16", "--projection_dim", "8")
DINO = ("dino", "--hidden_dim", "16", "--bottleneck_dim", "8", "--prototypes", "32")
SIMCLR = ("simclr", "--projection_dim", "8")


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Args:
        name: in the table.
        words: the method and its options.
        ranks: processes.
    """

    name: str
    words: tuple[str, ...]
    ranks: int = 1


KINDS = [
    Kind("byol, guard and probe", ("byol", "--hidden_dim", "16", "--projection_dim", "8")),
    Kind("simclr, accumulation", (*SIMCLR, *ACCUMULATE)),
    Kind("simclr, two workers", (*SIMCLR, "--workers", "2")),
    Kind("simclr, saved each 5 steps", (*SIMCLR, "--checkpoint_every", "5")),
    Kind("simclr, two ranks", SIMCLR, ranks=2),
    Kind("lfr", ("lfr", "--num_targets", "2", "--num_candidates", "6")),
    Kind("lfr, accumulation", ("lfr", "--num_targets", "2", "--num_candidates", "6", *ACCUMULATE)),
    Kind("moco, queue", MOCO),
    Kind("moco, queue, accumulation, workers", (*MOCO, *ACCUMULATE, "--workers", "2")),
    Kind("dino, crops of two sizes", (*DINO, "--local_views", "2")),
]


def start(kind: Kind, folder: Path, *argv: str) -> list[Any]:
    """Start a run's processes."""
    words = ("train", kind.words[0], *COMMON, *kind.words[1:], *argv)
    if kind.ranks == 1:
        return [survival.start(folder, words=words)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words += ("--trainer.devices", str(kind.ranks), "--trainer.strategy", "ddp")
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(kind.ranks), "NODE_RANK": "0"}
    shared |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return [
        survival.start(folder, words=words, variables=shared | {"LOCAL_RANK": str(rank)}) for rank in range(kind.ranks)
    ]


def finish(processes: list[Any]) -> list[int]:
    """Wait for all; when one has gone the others have a little time to see it."""
    first = multiprocessing.connection.wait([process.sentinel for process in processes])
    for process in processes:
        if process.sentinel not in first:
            process.join(120)
            if process.is_alive():
                process.kill()
    return [survival.finish(process) for process in processes]


def prepare(folder: Path) -> None:
    """Write what the commands name."""
    (folder / "net.py").write_text(survival.NET)


def read(folder: Path) -> dict[str, Any]:
    """Read a run's last checkpoint."""
    content: dict[str, Any] = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    return content


def kill(kind: Kind, folder: Path, seconds: float, number: signal.Signals, chance: random.Random) -> str:
    """Kill a run once, go on to its end, and return what went wrong, if anything did."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    processes = start(kind, folder, "--out", "run")
    time.sleep(chance.uniform(0, seconds))
    for process in processes:
        if process.is_alive():
            os.kill(process.pid, number)
    finish(processes)
    if (run / "checkpoints/last.ckpt").exists():
        try:
            read(run)
        except Exception as error:  # whatever reading a torn file raises is what is looked for
            return f"half-written: {error}"
    resume = ["--resume"] if (run / "config.yaml").exists() else []
    codes = finish(start(kind, folder, "--out", "run", *resume))
    if any(codes):
        return f"refused: {(folder / 'err.txt').read_text().strip().splitlines()[-1:]}"
    whole, end = read(folder / "whole"), read(run)
    differ = [part for part in PARTS if not survival.same(whole[part], end[part])]
    return f"{', '.join(differ)} differ" if differ else ""


def main() -> int:
    """Do as said, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="of all runs together (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    options = parser.parse_args()
    chance, failed = random.Random(options.seed), 0
    print(
        "| run | seconds | kills | equal bit for bit | refused, torn or different |\n|---|---|---|---|---|", flush=True
    )
    for number, kind in enumerate(KINDS):
        kills = options.kills // len(KINDS) + (number < options.kills % len(KINDS))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder)
            finish(start(kind, folder, "--out", "first"))  # the server's first process waits for its imports
            began = time.monotonic()
            codes = finish(start(kind, folder, "--out", "whole"))
            seconds = time.monotonic() - began
            if any(codes):
                print(f"| {kind.name} | does not run: {(folder / 'err.txt').read_text()[-300:]} |", flush=True)
                failed += 1
                continue
            signals = itertools.islice(itertools.cycle(SIGNALS), kills)
            wrong = [found for found in (kill(kind, folder, seconds, one, chance) for one in signals) if found]
            failed += len(wrong)
            row = (kind.name, f"{seconds:.1f}", kills, kills - len(wrong), "; ".join(wrong) or "none")
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
