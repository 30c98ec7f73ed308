"""The greedy choice of diverse items: a determinantal point process, one item at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["greedy_by_rows", "greedy_dpp"]

# Gains that differ by less than this share of the kernel's largest entry on the diagonal are equal.
TOLERANCE = 1e-9
NOT_FINITE = "the kernel has entries that are not finite; look for NaN in the candidates' outputs"


def greedy_dpp(kernel: Tensor, k: int) -> list[int]:
    """Choose k items whose submatrix of ``kernel`` has a large determinant, one by one.

    Each step takes the item that multiplies the determinant most. The gain of every item is kept up to date
    by one row of an incremental Cholesky factor, so all k steps cost O(N k^2), in float64.

    Of equal gains (within 1e-9 of the kernel's largest diagonal entry) the first item is taken. When no gain
    is left, because the kernel's rank is below k, the first of the remaining items are taken: there are
    always k.

    Source: Chen et al., 2018, "Fast Greedy MAP Inference for Determinantal Point Process to Improve
    Recommendation Diversity", arXiv:1709.05135, algorithm 1.

    Args:
        kernel: symmetric and positive semi-definite, [N, N].
        k: how many to choose, from 1 to N.

    Returns:
        k distinct indices, in the order of choice.

    Raises:
        ValueError: if ``k`` is out of range, or the kernel is not square or not finite.

    Example:
        >>> greedy_dpp(torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]]), 2)
        [0, 2]
    """
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"the kernel must be square, and has shape {list(kernel.shape)}")
    matrix = kernel.detach().to("cpu", torch.float64)
    if not matrix.isfinite().all():
        raise ValueError(NOT_FINITE)
    return greedy_by_rows(matrix.diagonal(), matrix.__getitem__, k)


def greedy_by_rows(diagonal: Tensor, row: Callable[[int], Tensor], k: int) -> list[int]:
    """Do what `greedy_dpp` does, of a kernel given by its diagonal and by rows that are made when asked for.

    Args:
        diagonal: of the kernel, [N] in float64.
        row: gives row i of the kernel, [N]; called for chosen items alone.
        k: how many to choose, from 1 to N.
    """
    if not 1 <= k <= len(diagonal):
        raise ValueError(f"{k} of {len(diagonal)} candidates cannot be chosen; k must be from 1 to {len(diagonal)}")
    if not diagonal.isfinite().all():
        raise ValueError(NOT_FINITE)
    gains = diagonal.cpu().clone()  # d_i^2 of the paper
    factor = gains.new_zeros(k, len(gains))  # row step holds entry step of every c_i of the paper
    tolerance = TOLERANCE * float(gains.abs().max())
    chosen: list[int] = []
    for step in range(k):
        # The first within the tolerance of the best; an item that is chosen has gain -inf.
        best = int((gains >= gains.max() - tolerance).nonzero()[0])
        gain = float(gains[best])
        gains[best] = -torch.inf
        chosen.append(best)
        # A gain this small is rounding; dividing by its root would blow it up into the other gains.
        if gain > tolerance:
            factor[step] = (row(best).cpu() - factor[:step, best] @ factor[:step]) / gain**0.5
            gains -= factor[step].square()
    return chosen
