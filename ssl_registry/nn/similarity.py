"""`NegativeCosineSimilarity`: predictions in the direction of their targets, the loss of BYOL and SimSiam."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["NegativeCosineSimilarity"]


class NegativeCosineSimilarity(nn.Module):
    """Mean of the negative cosine similarity of predictions and targets: -<p, z> / (|p| |z|).

    The loss of BYOL is the squared distance of the two unit vectors, |p/|p| - z/|z||^2 = 2 - 2 cos(p, z)
    (Grill et al., 2020, arXiv:2006.07733, equation 2), which is 2 + 2 times this loss. SimSiam (Chen and He,
    2021, arXiv:2011.10566, equation 1) uses this one. It lies between -1 (the same direction) and 1.

    The gradient flows into both arguments: detach the target, or compute it without gradient.

    Args:
        dim: the axis of the vectors.
        eps: lower bound of a vector's norm, so that a zero vector has similarity 0.

    Example:
        >>> loss = NegativeCosineSimilarity()
        >>> loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
        tensor(-1.)
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, p: Tensor, z: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            p: predictions, [batch, dim] or any shape with vectors along ``dim``.
            z: targets, of the same shape.

        Returns:
            A scalar in float32 (float64 for float64), also for half-precision inputs and under autocast.

        Raises:
            ValueError: if the shapes differ.
        """
        if p.shape != z.shape:
            raise ValueError(f"predictions have shape {list(p.shape)} and targets {list(z.shape)}; they must agree")
        dtype = torch.promote_types(torch.promote_types(p.dtype, z.dtype), torch.float32)
        with torch.autocast(p.device.type, enabled=False):
            return -F.cosine_similarity(p.to(dtype), z.to(dtype), self.dim, self.eps).mean()

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"dim={self.dim}, eps={self.eps}"
