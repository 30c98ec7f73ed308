"""The loss of Barlow Twins: the cross-correlation of two views, over the batch of all ranks, is to be the identity."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry.nn import all_mean, off_diagonal_squares, world_size

__all__ = ["BarlowTwinsLoss", "standardize"]


class BarlowTwinsLoss(nn.Module):
    """Make the cross-correlation matrix of two views' embeddings the identity.

    With the embeddings of each view standardised over the batch, dimension by dimension, and C_ij the mean over the
    batch of dimension i of the first view times dimension j of the second,

        loss = sum_i (1 - C_ii)^2 + lambd * sum_{i != j} C_ij^2.

    Means, variances and C are of the samples of all ranks. As in the authors' code the sums are not divided by the
    number of dimensions, the variance is the biased one, and 1e-5 is added to it.

    Source: Zbontar et al., 2021, arXiv:2103.03230, equations 1 and 2, algorithm 1.

    C itself is made only where the batch is large beside the dimensions; see `ssl_registry.nn.off_diagonal_squares`.
    A second derivative is not available.

    Args:
        lambd: weight of the terms off the diagonal, from 0 on.
        eps: what is added to the variances.

    Raises:
        ValueError: if ``lambd`` is negative.

    Example:
        >>> views = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> loss = BarlowTwinsLoss(lambd=0.5)
        >>> round(loss(views, -views).item(), 3)  # each dimension is the opposite of itself: twice (1 + 1)^2
        8.0
        >>> round(loss(views, views.roll(1, 1)).item(), 3)  # and here the other one: 2 + 0.5 * 2
        3.0
    """

    def __init__(self, lambd: float = 0.0051, eps: float = 1e-5) -> None:
        super().__init__()
        if not lambd >= 0:
            raise ValueError(f"lambd={lambd} must not be negative; Barlow Twins uses 0.0051")
        self.lambd = lambd
        self.eps = eps

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            z0: embeddings of the first view, [batch, dim]; with several ranks the same shape on all.
            z1: embeddings of the second view of the same samples, [batch, dim].

        Returns:
            A scalar in float32 (float64 for float64), also for half-precision inputs and under autocast; the same on
            every rank.

        Raises:
            ValueError: if the shapes differ, or are not [batch, dim] with at least two samples over all ranks.
        """
        invariance, redundancy = self.terms(z0, z1)
        return invariance + self.lambd * redundancy

    def terms(self, z0: Tensor, z1: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums on and off the diagonal, without weights; arguments and errors as of `forward`."""
        samples = len(z0) * world_size() if z0.ndim == 2 else 0
        if z0.shape != z1.shape or samples < 2:
            raise ValueError(
                f"the two views have shapes {list(z0.shape)} and {list(z1.shape)}; "
                "both must be the same [batch, dim], with at least two samples"
            )
        dtype = torch.promote_types(torch.promote_types(z0.dtype, z1.dtype), torch.float32)
        with torch.autocast(z0.device.type, enabled=False):
            a, b = (standardize(z.to(dtype), self.eps) for z in (z0, z1))
            redundancy, diagonal = off_diagonal_squares(a, b, diagonal=True)
            return (1 - diagonal / samples).square().sum(), redundancy / samples**2

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"lambd={self.lambd}, eps={self.eps}"


def standardize(z: Tensor, eps: float = 1e-5) -> Tensor:
    """Give each dimension mean 0 and variance 1 over the samples of all ranks.

    Args:
        z: [batch, dim], in float32 or float64.
        eps: what is added to the biased variances.
    """
    if world_size() == 1:
        return F.batch_norm(z, None, None, training=True, eps=eps)  # one kernel each way
    centered = z - all_mean(z)
    return centered * torch.rsqrt(all_mean(centered.square()) + eps)
