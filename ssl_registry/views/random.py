"""Random parameters for a batch, from one generator."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Random"]


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
        return (numbers * (high - low) + low).to(self.device)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Draw standard normal float32 numbers."""
        return torch.randn(shape, generator=self.generator, device=self._origin).to(self.device)

    def chance(self, probability: float, count: int) -> Tensor:
        """Draw bool [count], True with this probability."""
        return self.uniform(0, 1, (count,)) < probability

    def order(self, count: int, length: int) -> Tensor:
        """Draw int64 [count, length]: in each row a permutation."""
        return self.uniform(0, 1, (count, length)).argsort(1)
