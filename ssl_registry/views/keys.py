"""Random numbers as a pure function of keys, on the host: SplitMix64 (Steele et al., 2014).

A key is what is mixed from whole numbers, such as (seed, epoch, sample). Value number n of a key's stream is a hash of
the key and n. Nothing is kept between draws, so what is drawn depends neither on the batch nor on the number of workers
or devices, and a step that is switched off leaves the numbers of all others as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIRST", "GOLDEN", "SECOND", "Keys", "combine", "mix_seed", "sample_keys", "stream", "uniform"]

Keys = NDArray[np.uint64]

# SplitMix64's constants: the step from one state to the next, and the two factors of its finalizer.
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def combine(*numbers: int | NDArray[Any]) -> Keys:
    """Mix whole numbers, or arrays of them [B], into keys, [B] or [1]; neighbouring numbers give unrelated keys."""
    keys = np.zeros(1, np.uint64)
    for number in numbers:
        one = np.uint64(number % 2**64) if isinstance(number, int) else number.astype(np.uint64)
        keys = _finalized(keys + one + np.uint64(GOLDEN))
    return keys


def sample_keys(seed: int, epoch: int, indices: NDArray[Any] | Sequence[int]) -> Keys:
    """Return the key of each sample in an epoch, [B].

    >>> bool(sample_keys(0, 1, [5])[0] == sample_keys(0, 1, [4, 5])[1])
    True
    """
    return combine(seed, epoch, np.asarray(indices, np.int64))


def mix_seed(*numbers: int) -> int:
    """Mix whole numbers into one seed for a generator.

    Not their sum: with that the second epoch of seed 0 would be the first of seed 1. It is `combine` of the same
    numbers, in a twentieth of the time: a training step mixes several seeds.
    """
    state = 0
    for number in numbers:
        state = (state + number + GOLDEN) % 2**64
        state = (state ^ (state >> 30)) * FIRST % 2**64
        state = (state ^ (state >> 27)) * SECOND % 2**64
        state ^= state >> 31
    return state >> 1  # torch's CPU and CUDA generators both take 63 bits


def stream(keys: Keys, count: int, *, start: int = 0) -> Keys:
    """Return values number ``start`` to ``start + count - 1`` of each key's stream, [B, count]."""
    numbers = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    return _finalized(keys[:, None] + numbers * np.uint64(GOLDEN))


def uniform(bits: Keys) -> NDArray[np.float64]:
    """Turn values of a stream into numbers evenly distributed in [0, 1)."""
    numbers: NDArray[np.float64] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def _finalized(state: Keys) -> Keys:
    """Hash states; unsigned numbers wrap around."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(SECOND)
    return state ^ (state >> np.uint64(31))
