"""Random numbers are a function of keys: SplitMix64, the same on host and device, evenly and normally distributed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from ssl_registry.views.device.numbers import keyed_normal
from ssl_registry.views.keys import combine, mix_seed, sample_keys, stream, uniform


def finalized(state):
    """SplitMix64's finalizer as its authors write it, in whole numbers without an end."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


def test_a_stream_is_splitmix64():
    """Seeded with 1234567, its first numbers are those that its authors' code prints."""
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert stream(np.array([1234567], np.uint64), 5)[0].tolist() == known
    assert stream(np.array([1234567], np.uint64), 2, start=3)[0].tolist() == known[3:]


@pytest.mark.parametrize("numbers", [(0,), (1, 2, 3), (2**63, 5), (-1, 0), (3, 2, 1)])
def test_keys_mix_number_after_number(numbers):
    """Each is added to the state with the generator's step, and the sum is hashed."""
    state = 0
    for number in numbers:
        state = finalized((state + number + 0x9E3779B97F4A7C15) % 2**64)
    assert combine(*numbers).tolist() == [state]
    assert mix_seed(*numbers) == state >> 1


def test_keys_of_samples_are_those_of_their_numbers():
    """One by one or together, and arrays of keys can be mixed further."""
    keys = sample_keys(7, 2, [5, 0, 2**40])
    assert keys.tolist() == [int(combine(7, 2, number)[0]) for number in (5, 0, 2**40)]
    assert combine(keys, 1, 4)[1:2].tolist() == combine(keys[1:2], 1, 4).tolist()
    assert len(sample_keys(7, 2, [])) == 0


def test_uniform_numbers():
    """Ten thousand of one key, and one each of ten thousand keys, pass a Kolmogorov-Smirnov test."""
    for bits in (stream(sample_keys(0, 0, [3]), 10_000), stream(sample_keys(0, 0, range(10_000)), 1)):
        numbers = uniform(bits).flatten()
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert kstest(numbers, "uniform").pvalue > 0.01


def test_normal_numbers_come_from_the_hosts_streams():
    """Box and Muller's formula of the 24 highest and the 24 lowest bits; normally distributed."""
    keys = sample_keys(1, 0, [4, 9])
    drawn = keyed_normal(keys, (3, 2000), torch.device("cpu"))
    assert drawn.dtype == torch.float32
    bits = stream(keys, 6000).reshape(2, 3, 2000)
    high, low = ((bits >> np.uint64(40)) + np.uint64(1)) * 2.0**-24, (bits & np.uint64(0xFFFFFF)) * 2.0**-24
    np.testing.assert_allclose(drawn, np.sqrt(-2 * np.log(high)) * np.cos(2 * np.pi * low), atol=2e-6)
    assert kstest(drawn.flatten(), "norm").pvalue > 0.01
