"""Random numbers on the data's device: from one generator, or from a key for each sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_registry.views.device.transfer import to_device

__all__ = ["Random", "keyed_normal"]

# SplitMix64's constants as the signed numbers that torch has.
GOLDEN, FIRST, SECOND = (number - 2**64 for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Random:
    """Draws a batch's parameters from a generator, and hands them over on the data's device.

    Args:
        generator: where the numbers come from; None for torch's global one.
        device: where they are needed.
    """

    def __init__(self, generator: torch.Generator | None, device: torch.device) -> None:
        self.generator = generator
        self.device = device
        self._origin = device if generator is None else generator.device

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> Tensor:
        """Draw float32 numbers in [low, high)."""
        numbers = torch.rand(shape, generator=self.generator, device=self._origin)
        return to_device(numbers * (high - low) + low, self.device)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Draw standard normal float32 numbers."""
        return to_device(torch.randn(shape, generator=self.generator, device=self._origin), self.device)

    def chance(self, probability: float, count: int) -> Tensor:
        """Draw bool [count], True with this probability."""
        return self.uniform(0, 1, (count,)) < probability

    def order(self, count: int, length: int) -> Tensor:
        """Draw int64 [count, length]: in each row a permutation."""
        return self.uniform(0, 1, (count, length)).argsort(1)


def keyed_normal(keys: Tensor, count: int) -> Tensor:
    """Draw standard normal float32 numbers that depend on each sample's key alone, on any device.

    Args:
        keys: int64 [B].
        count: numbers a sample.

    Returns:
        [B, count].
    """
    state = keys[:, None] + torch.arange(1, count + 1, device=keys.device) * GOLDEN
    state = (state ^ _shifted(state, 30)) * FIRST
    state = (state ^ _shifted(state, 27)) * SECOND
    state = state ^ _shifted(state, 31)
    # Two uniform numbers of 24 bits each, the first above 0 (Box and Muller, 1958).
    radius = (((_shifted(state, 40) + 1).float() * 2.0**-24).log() * -2).sqrt()
    return radius * ((state & 0xFFFFFF).float() * (2 * math.pi * 2.0**-24)).cos()


def _shifted(state: Tensor, bits: int) -> Tensor:
    """Shift to the right and fill with zeros; torch fills with the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
