"""`sinkhorn`: assignments of samples to prototypes that use all prototypes equally."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_registry.nn.gather import reduce_ranks

__all__ = ["sinkhorn"]


@torch.no_grad()
def sinkhorn(logits: Tensor, *, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Turn similarities into soft assignments in which every prototype gets the same share of the global batch.

    With Q = exp(logits / epsilon) over the samples of all ranks, each iteration divides the column of a prototype by
    its sum over the samples, and then the row of a sample by its sum over the prototypes. The number of samples
    cancels, so ranks may hold batches of different sizes, or none.

    Sources: Caron et al., 2020, arXiv:2006.09882 (SwAV), section 3.1, equations 3 and 5, and the authors' code: three
    iterations with epsilon 0.05. Oquab et al., 2023, arXiv:2304.07193 (DINOv2), section 4, uses it in place of DINO's
    centre, with the teacher's temperature as epsilon.

    Computed in float32, and the first iteration with logarithms, so that large logits neither overflow nor leave a
    sample or prototype with a sum of zero. Without gradient.

    Args:
        logits: [batch, prototypes] of this rank. A row of -inf, such as an empty place of a queue, takes no part and
            returns as zeros.
        epsilon: above 0; the smaller, the nearer the assignments are to one prototype for each sample.
        iterations: from 1 on.

    Returns:
        [batch, prototypes] in float32 (float64 for float64); each row sums to 1.

    Raises:
        ValueError: if ``logits`` is no matrix, ``epsilon`` is not above 0, or ``iterations`` is below 1.

    Example:
        >>> logits = torch.tensor([[0.3, 0.0], [0.2, 0.0], [0.1, 0.0], [0.0, 0.0]])  # the first is never worse
        >>> sinkhorn(logits).argmax(1)
        tensor([0, 0, 1, 1])
    """
    if logits.ndim != 2:
        raise ValueError(f"logits have shape {list(logits.shape)}; they must be [batch, prototypes]")
    if not epsilon > 0:
        raise ValueError(f"epsilon={epsilon} must be above 0; SwAV uses 0.05")
    if iterations < 1:
        raise ValueError(f"iterations={iterations} must be at least 1; SwAV uses 3")
    q = logits.to(torch.promote_types(logits.dtype, torch.float32)) / epsilon  # [batch, prototypes]
    # Where everything is -inf the maximum is too, and -inf - (-inf) would be NaN.
    lowest, tiny = torch.finfo(q.dtype).min, torch.finfo(q.dtype).tiny
    largest = q.amax(0) if len(q) else q.new_full(q.shape[1:], -torch.inf)  # [prototypes]
    q -= reduce_ranks(largest, "MAX").clamp_(min=lowest)
    q -= reduce_ranks(q.exp().sum(0)).log_().clamp_(min=lowest)
    q -= q.amax(1, keepdim=True).clamp_(min=lowest)
    q.exp_()
    q /= q.sum(1, keepdim=True).clamp_(min=tiny)
    # From here on plain numbers do: of n samples and K prototypes, each column, and each row that takes part, has an
    # entry of at least 1 / (nK), so no sum vanishes.
    for _ in range(iterations - 1):
        q /= reduce_ranks(q.sum(0)).clamp_(min=tiny)
        q /= q.sum(1, keepdim=True).clamp_(min=tiny)
    return q
