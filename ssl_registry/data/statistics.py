"""Mean and standard deviation by channel or feature, in float64 however large the array is."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ssl_registry.errors import DataError

__all__ = ["Statistics", "channel_statistics", "standardized"]

Numbers = tuple[float, ...]
Statistics = tuple[Numbers, Numbers]  # mean and std
CHUNK = 1 << 22  # numbers that are widened to float64 at a time: 32 MiB


def channel_statistics(x: Tensor, *, scale: float = 1.0) -> tuple[Numbers, Numbers]:
    """Measure mean and population standard deviation along axis 1.

    Args:
        x: [N, C, ...], any number type.
        scale: what every number is divided by first: 255 for uint8 images.

    Returns:
        Mean and std, C numbers each. A constant channel has std 1, so that it standardises to zeros.

    Raises:
        DataError: if the numbers are so large that their variance overflows.

    Example:
        >>> channel_statistics(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
        ((1.0, 5.0), (1.0, 1.0))
    """
    count = x.numel() // x.shape[1]
    total = torch.zeros(x.shape[1], dtype=torch.float64)
    for chunk in _chunks(x, scale):
        total += chunk.sum(1)
    mean = total / count
    squares = torch.zeros_like(total)
    low, high = torch.full_like(total, torch.inf), torch.full_like(total, -torch.inf)
    for chunk in _chunks(x, scale):
        squares += (chunk - mean[:, None]).square().sum(1)
        low, high = torch.minimum(low, chunk.amin(1)), torch.maximum(high, chunk.amax(1))
    # Rounding leaves a constant channel a tiny std, and dividing by that would turn rounding into signal.
    constant = low == high
    mean, std = torch.where(constant, low, mean), torch.where(constant, 1.0, (squares / count).sqrt())
    if not bool(std.isfinite().all()):
        channel = int((~std.isfinite()).nonzero()[0])
        raise DataError(f"channel {channel} reaches {float(high[channel]):.3g}, too large to standardise; rescale it")
    return tuple(mean.tolist()), tuple(std.tolist())


def standardized(x: Tensor, mean: Numbers, std: Numbers) -> Tensor:
    """Return (x - mean) / std along axis 1, computed in float64 and given as float32."""
    out = torch.empty(x.shape, dtype=torch.float32)
    shape = (1, -1, *[1] * (x.ndim - 2))
    center, width = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
    rows = max(1, CHUNK // max(1, x[0].numel()))
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        out[part] = (x[part].double() - center.view(shape)) / width.view(shape)
    return out


def _chunks(x: Tensor, scale: float) -> Iterator[Tensor]:
    """Yield [C, numbers] in float64."""
    rows = max(1, CHUNK // max(1, x[0].numel()))
    for start in range(0, len(x), rows):
        yield x[start : start + rows].transpose(0, 1).flatten(1).double() / scale
