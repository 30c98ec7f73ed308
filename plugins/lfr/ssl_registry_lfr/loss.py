"""The loss of LFR: Barlow Twins across the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BatchWiseBarlowTwinsLoss"]


class BatchWiseBarlowTwinsLoss(nn.Module):
    """Make the similarities between samples the identity, from predictions to targets.

    With C = normalise(p) normalise(z)^T, the cosine similarity of each sample's prediction to each
    sample's target, [batch, batch]:

        loss = sum_i (C_ii - 1)^2 + lambd * sum_{i != j} C_ij^2

    Summed over the batch, not divided by it, as in the authors' code.

    Source: Sui et al., 2024, arXiv:2310.07756, and the authors' code; after Barlow Twins (Zbontar et al.,
    2021, arXiv:2103.03230), whose C is [dim, dim].

    Args:
        lambd: weight of the terms off the diagonal, from 0 on.

    Raises:
        ValueError: if ``lambd`` is negative.

    Example:
        >>> loss = BatchWiseBarlowTwinsLoss(lambd=0.01)
        >>> loss(torch.eye(3), torch.eye(3))
        tensor(0.)
    """

    def __init__(self, lambd: float = 0.01) -> None:
        super().__init__()
        if not lambd >= 0:
            raise ValueError(f"lambd={lambd} must not be negative; LFR uses 0.01")
        self.lambd = lambd

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            pred: predictions, [batch, dim], or of K targets at once, [K, batch, dim].
            target: targets, of the same shape.

        Returns:
            A scalar, the mean over the K targets if there are several; in float32 (float64 for float64), also
            for half-precision inputs and under autocast.

        Raises:
            ValueError: if the shapes differ, or are neither of the two.
        """
        if pred.shape != target.shape or pred.ndim not in (2, 3):
            raise ValueError(
                f"predictions have shape {list(pred.shape)} and targets {list(target.shape)}; "
                "both must be the same [batch, dim] or [K, batch, dim]"
            )
        dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
        with torch.autocast(pred.device.type, enabled=False):
            p, z = F.normalize(pred.to(dtype), dim=-1), F.normalize(target.to(dtype), dim=-1)
            c = p @ z.mT  # [..., batch, batch]
            on = c.diagonal(dim1=-2, dim2=-1)
            # Masked, not subtracted from the whole sum, which would leave rounding where there is nothing.
            itself = torch.eye(c.shape[-1], dtype=torch.bool, device=c.device)
            off = c.masked_fill(itself, 0.0)
            return ((on - 1).square().sum(-1) + self.lambd * off.square().sum((-2, -1))).mean()

    def extra_repr(self) -> str:
        """Show the argument."""
        return f"lambd={self.lambd}"
