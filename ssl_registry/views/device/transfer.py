"""Numbers from the host to the device that needs them, without a wait for what the device still has to do."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["constants", "to_device"]


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
