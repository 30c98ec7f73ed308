"""Numbers on the device that needs them: copied there without a wait, or drawn there from the samples' keys."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.views.keys import FIRST, GOLDEN, SECOND, Keys

__all__ = ["constants", "keyed_normal", "to_device"]


def to_device(numbers: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Copy the host's numbers; on CUDA the host goes on at once.

    An ordinary copy waits until the device has done all work before it. CUDA has read pageable memory when its
    asynchronous copy returns, so ``numbers`` may change right after.
    """
    numbers = numbers if isinstance(numbers, Tensor) else torch.from_numpy(numbers)
    return numbers.to(device, non_blocking=device.type == "cuda")


@lru_cache(maxsize=64)
def constants(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Return float32 numbers that are copied to a device once. Not to be changed."""
    with torch.inference_mode(False):  # inference's tensors are of no use to a later backward pass
        return torch.tensor(numbers, device=device, dtype=torch.float32)


def keyed_normal(keys: Keys, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw standard normal float32 numbers on a device, as a function of each sample's key alone.

    The streams are those of `ssl_registry.views.keys.stream`; torch has signed numbers, which hold the same bits.

    Args:
        keys: of the samples, [B].
        shape: of the numbers of one sample.
        device: where they are drawn.

    Returns:
        [B, *shape].
    """
    golden, first, second = (number - 2**64 for number in (GOLDEN, FIRST, SECOND))
    numbers = torch.arange(1, math.prod(shape) + 1, device=device)
    state = to_device(keys.view("int64"), device)[:, None] + numbers * golden
    state = (state ^ _shifted(state, 30)) * first
    state = (state ^ _shifted(state, 27)) * second
    state = state ^ _shifted(state, 31)
    # Two uniform numbers of 24 bits each, the first above 0 (Box and Muller, 1958).
    radius = (((_shifted(state, 40) + 1).float() * 2.0**-24).log() * -2).sqrt()
    normal = radius * ((state & 0xFFFFFF).float() * (2 * math.pi * 2.0**-24)).cos()
    return normal.view(len(keys), *shape)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """Shift to the right and fill with zeros; torch fills with the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
