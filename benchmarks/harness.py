"""Side by side: interleaved rounds, medians, quartiles, ratios, peak memory, and one JSON for the table.

A benchmark is a list of `Work`: one thing to do, and who does it. Contenders take turns, so what else the
machine does meets all of them alike, and a ratio is the median of the rounds' own ratios. One that sets up its process
as its product does, such as its memory allocator, has a process of its own: `Elsewhere`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

__all__ = ["Elsewhere", "Measured", "Work", "arguments", "measure", "run"]

# A round is shorter than any scheduling hiccup is frequent, and longer than the clock's resolution.
SECONDS_A_TURN = 0.05


@dataclass(frozen=True)
class Work:
    """One thing to do.

    Args:
        name: what it is, with its size.
        contenders: who does it, by name; the first is ours, and every ratio is to it.
        section: the heading of the table it belongs to.
        memory: whether to measure peak memory too.
        goal: the least ratios that are wanted, by contender.
        rounds: at most so many turns, for what takes long.
    """

    name: str
    contenders: dict[str, Callable[[], object]]
    section: str
    memory: bool = False
    goal: dict[str, float] | None = None
    rounds: int | None = None


@dataclass(frozen=True)
class Measured:
    """How long a contender took.

    Args:
        section, work, who: see `Work`.
        seconds: median of a call.
        low, high: quartiles.
        ratio: how many times longer than ours, as the median over the rounds.
        goal: the least ratio that is wanted.
        peak: memory that a call needs beyond what was there, in MiB.
    """

    section: str
    work: str
    who: str
    seconds: float
    low: float
    high: float
    ratio: float
    goal: float | None = None
    peak: float | None = None


class Elsewhere:
    """A contender in a process of its own.

    Args:
        build: makes what is called, there; a function of a module, as it is told by name.
        *options: its arguments.
    """

    def __init__(self, build: Callable[..., Callable[[], object]], *options: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        context.Process(target=_serve, args=(there, build, options), daemon=True).start()

    def __call__(self) -> Any:
        """Call it, and return the number it returned, or None."""
        return self._ask("call")

    def peak(self) -> float | None:
        """Return the memory that a call needs there, in MiB."""
        return self._ask("peak")

    def _ask(self, what: str) -> Any:
        self._connection.send(what)
        return self._connection.recv()


def _serve(connection: Connection, build: Callable[..., Callable[[], object]], options: tuple[object, ...]) -> None:
    call = build(*options)
    with suppress(EOFError):  # the other end is gone when all is measured
        while True:
            if connection.recv() == "peak":
                connection.send(_peak(call, torch.device("cpu")))
            else:
                value = call()
                connection.send(float(value) if isinstance(value, torch.Tensor) else None)


def arguments(doc: str | None, **more: object) -> argparse.Namespace:
    """Parse what every benchmark takes: ``--device``, ``--rounds``, ``--json``."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender, at least 3")
    parser.add_argument("--json", type=Path, help="write the figures here, for benchmarks/table.py")
    for name, default in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


def run(works: Iterable[Work], options: argparse.Namespace) -> list[Measured]:
    """Measure, print as it comes, and write the JSON."""
    found: list[Measured] = []
    print(f"{'':<46}{'median ms':>11}{'quartiles':>19}{'times ours':>12}{'MiB':>8}")
    for work in works:
        print(work.name)
        for row in measure(work, min(options.rounds, work.rounds or options.rounds), torch.device(options.device)):
            found.append(row)
            spread = f"{1e3 * row.low:.2f} .. {1e3 * row.high:.2f}"
            peak = "" if row.peak is None else f"{row.peak:.0f}"
            mark = " !" if row.goal is not None and row.ratio < row.goal else ""
            print(f"  {row.who:<44}{1e3 * row.seconds:>11.2f}{spread:>19}{row.ratio:>12.2f}{peak:>8}{mark}")
    write(found, options)
    return found


def write(found: list[Measured], options: argparse.Namespace) -> None:
    """Write the figures with what they were measured on, if ``--json`` asks for it."""
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": machine(options.device), "rows": [asdict(row) for row in found]}
        options.json.write_text(json.dumps(content, indent=1))


def measure(work: Work, rounds: int, device: torch.device) -> list[Measured]:
    """Let the contenders take turns."""
    calls, peaks = {}, {}
    for who, call in work.contenders.items():
        seconds, peaks[who] = _first(call, device, work.memory)
        calls[who] = max(1, int(SECONDS_A_TURN / seconds))
    turns: dict[str, list[float]] = {who: [] for who in calls}
    for number in range(rounds):
        order = list(calls)
        for who in order[number % len(order) :] + order[: number % len(order)]:
            turns[who].append(_turn(work.contenders[who], calls[who], device))
    ours = turns[next(iter(turns))]
    rows = []
    for who, seconds in turns.items():
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        ratio = statistics.median(theirs / own for theirs, own in zip(seconds, ours, strict=True))
        goal = (work.goal or {}).get(who)
        rows.append(Measured(work.section, work.name, who, median, low, high, ratio, goal, peaks[who]))
    return rows


def _first(call: Callable[[], object], device: torch.device, memory: bool) -> tuple[float, float | None]:
    """Return the seconds of a call that has allocated, tuned and compiled what it needs, and its peak memory."""
    seconds, peak = 0.0, None

    def timed() -> None:
        nonlocal seconds
        seconds = _turn(call, 1, device)

    timed()
    if memory:
        peak = call.peak() if isinstance(call, Elsewhere) else _peak(timed, device)
    elif seconds < 1:  # what takes longer than a second loses little to its first call
        timed()
    return max(seconds, 1e-6), peak


def _turn(call: Callable[[], object], times: int, device: torch.device) -> float:
    """Return the seconds of one of ``times`` calls."""
    _wait(device)
    started = time.perf_counter()
    for _ in range(times):
        call()
    _wait(device)
    return (time.perf_counter() - started) / times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(call: Callable[[], object], device: torch.device) -> float | None:
    """Return the memory that a call needs beyond what is there now, in MiB; None where that is not told."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    marker = Path("/proc/self/clear_refs")
    if not marker.exists():
        return None
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what lies free in the heap would hide what the call needs
    marker.write_text("5")  # the high-water mark starts anew
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(key: str) -> float:
    """Return a figure of /proc/self/status in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def machine(device: str) -> str:
    """Say on what was measured."""
    if device.startswith("cuda"):
        where = torch.cuda.get_device_name(device)
    else:
        cpuinfo = Path("/proc/cpuinfo")
        names = [line.partition(": ")[2] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        where = f"{torch.get_num_threads()} threads, {(names or [platform.machine()])[0]}"
    return f"{where}; torch {torch.__version__}, Python {platform.python_version()}"
