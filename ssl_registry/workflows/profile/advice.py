"""Settings that are tried, and the best of them in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ssl_registry.data.loading.workers import usable_cores
from ssl_registry.workflows.profile.steps import Setting, Steps

__all__ = ["Advice", "advise", "candidates"]

ENGINES = ("host", "device", "split")
WAITING = 0.05  # share of the time spent waiting for data, below which more workers can gain little
GAIN = 1.05  # how many times as fast a setting must be to be advised


@dataclass(frozen=True)
class Advice:
    """What was tried, and what to do.

    Args:
        line: for a person to read.
        best: the fastest setting.
        tried: samples a second by setting, the first being the one that was asked for.
    """

    line: str
    best: Setting
    tried: dict[Setting, float]


def candidates(
    setting: Setting,
    found: Steps,
    *,
    decodes: bool,
    engine: str | None,
    samples: int,
    cuda: bool,
    total_memory: int,
) -> list[Setting]:
    """Return settings that may be faster, by what was found with this one.

    Args:
        setting: that was measured.
        found: what came of it.
        decodes: whether samples are read and decoded on request.
        engine: that drew the views of 8-bit images; None where there is nothing to choose.
        samples: of the training part.
        cuda: whether the device is one; elsewhere a larger batch and compiling gain little and cost minutes.
        total_memory: of the device, in bytes.
    """
    cores = usable_cores()
    tries: list[Setting] = []
    loads = decodes or engine in ("host", "split")  # workers decode, and draw where the host does
    if loads and found.data_wait > WAITING:
        counts = sorted({1, cores // 2, cores, 2 * cores} - {0, setting.workers})
        tries += [replace(setting, workers=count) for count in counts]
    if not loads and setting.workers:
        tries.append(replace(setting, workers=0))
    if engine is not None and found.data_wait > WAITING:
        # Without an accelerator to finish them, halves gain nothing.
        tries += [replace(setting, engine=other) for other in ENGINES[: 3 if cuda else 2] if other != engine]
    if cuda and found.data_wait < 0.5:
        tries += [] if setting.compile else [replace(setting, compile=True)]
        if 2 * found.peak_memory < 0.9 * total_memory and samples >= 2 * setting.batch_size:
            tries.append(replace(setting, batch_size=2 * setting.batch_size))
    return tries


def advise(setting: Setting, found: Steps, tries: list[Setting], measure: Callable[[Setting], Steps]) -> Advice:
    """Try settings and say which is best.

    Args:
        setting: the one that was asked for.
        found: how fast it was.
        tries: others.
        measure: trains for some steps with a setting.
    """
    tried = {setting: found.rate} | {other: measure(other).rate for other in tries}
    best = max(tried, key=lambda one: tried[one])
    names = ", ".join(f"{_difference(setting, other)}: {tried[other] / found.rate:.2f} times" for other in tries)
    if not tries:
        line = f"keep it: {found.data_wait:.0%} of a step waits for data, and no other setting was worth a try here"
    elif tried[best] < GAIN * found.rate:
        line = f"keep it: nothing that was tried is faster ({names})"
    else:
        line = f"{_difference(setting, best)} is {tried[best] / found.rate:.2f} times as fast (tried: {names})"
        if best.batch_size != setting.batch_size:
            line += "; it changes what is learned, and wants a learning rate of its own"
    return Advice(line, best, tried)


def _difference(setting: Setting, other: Setting) -> str:
    """Name the options that differ, as they are written on the command line."""
    words = []
    if other.workers != setting.workers:
        words.append(f"--workers {other.workers}")
    if other.batch_size != setting.batch_size:
        words.append(f"--batch-size {other.batch_size}")
    if other.engine != setting.engine:
        words.append(f"--views.engine {other.engine}")
    if other.compile != setting.compile:
        words.append("--compile true")
    return " ".join(words)
