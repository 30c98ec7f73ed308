"""`masked_entropy`: what a teacher assigns masked patches to, predicted by a student that does not see them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["masked_entropy"]


def masked_entropy(targets: Tensor, logits: Tensor, weights: Tensor, *, temperature: float) -> Tensor:
    """Compute the weighted sum of the cross-entropies of masked patches.

        loss = -sum_i w_i * sum_k t_ik log softmax(s_i / temperature)_k

    With the weights of `ViewMasks` it is the mean over the masked patches of a view, and over all views; one without
    masked patches counts as 0.

    Sources: Zhou et al., 2021, arXiv:2111.07832 (iBOT), equation 2, with the mean over an image's patches of the
    authors' code; Oquab et al., 2023, arXiv:2304.07193 (DINOv2), section 4, patch-level objective.

    Args:
        targets: [M, K], each row sums to 1. They get no gradient.
        logits: the student's [M, K].
        weights: [M].
        temperature: above 0.

    Returns:
        A scalar in float32 (float64 for float64), also under autocast; 0 where nothing is masked.

    Raises:
        ValueError: if shapes do not fit, or ``temperature`` is not above 0.

    Example:
        >>> certain = torch.tensor([[1.0, 0.0]])
        >>> masked_entropy(certain, torch.zeros(1, 2), torch.ones(1), temperature=1.0)  # log(2)
        tensor(0.6931)
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0")
    if logits.ndim != 2 or targets.shape != logits.shape or weights.shape != logits.shape[:1]:
        shapes = list(targets.shape), list(logits.shape), list(weights.shape)
        raise ValueError(f"targets {shapes[0]}, logits {shapes[1]} and weights {shapes[2]} must be [M, K], [M, K], [M]")
    dtype = torch.promote_types(torch.promote_types(targets.dtype, logits.dtype), torch.float32)
    with torch.autocast(logits.device.type, enabled=False):
        predicted = F.log_softmax(logits.to(dtype) / temperature, dim=1)
        entropy = -(targets.detach().to(dtype) * predicted).sum(1)  # [M]
        return (entropy * weights.to(dtype)).sum()
