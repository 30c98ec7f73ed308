"""The loss of VICReg: views near each other, dimensions that vary, and no two that say the same, over all ranks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry.nn import all_mean, off_diagonal_squares, world_size

__all__ = ["VICRegLoss", "covariance", "variance"]

Terms = tuple[Tensor, Tensor, Tensor]


def variance(z: Tensor, eps: float = 1e-4) -> Tensor:
    """Return the mean over dimensions of how far the standard deviation is below 1 (equations 1 and 2).

    Args:
        z: embeddings [batch, dim], in float32 or float64; the deviations are those of the samples of all ranks.
        eps: what is added to the variances, which are the unbiased ones.

    Example:
        >>> round(variance(torch.tensor([[0.0, 3.0], [0.0, -3.0]])).item(), 3)  # of two dimensions one is constant
        0.495
    """
    samples = len(z) * world_size()
    squares = all_mean((z - all_mean(z)).square())  # [dim]
    return F.relu(1 - torch.sqrt(squares * (samples / (samples - 1)) + eps)).mean()


def covariance(z: Tensor) -> Tensor:
    """Return the sum of the squared covariances of different dimensions, over the number of dimensions (equation 4).

    The matrix of covariances is made only where the batch is larger than the number of dimensions; see
    `ssl_registry.nn.off_diagonal_squares`. A second derivative is not available.

    Args:
        z: embeddings [batch, dim], in float32 or float64; the covariances are those of the samples of all ranks.

    Example:
        >>> covariance(torch.tensor([[3.0, -3.0], [-3.0, 3.0]]))  # -18 both ways
        tensor(324.)
    """
    samples = len(z) * world_size()
    return off_diagonal_squares(z - all_mean(z)) / ((samples - 1) ** 2 * z.shape[1])


class VICRegLoss(nn.Module):
    """Variance, invariance and covariance of the embeddings of two views.

    With z and z' the embeddings of the batch, v the hinge on the standard deviations and c the squared covariances,

        loss = lambd * mse(z, z') + mu * [v(z) + v(z')] + nu * [c(z) + c(z')].

    Standard deviations and covariances are those of the samples of all ranks; the distance is that of the rank's own
    samples, and DDP's averaging makes its gradient that of all.

    Source: Bardes et al., 2022, arXiv:2105.04906, equation 6. The authors' code (facebookresearch/vicreg) takes half of
    the variance term: give ``mu=12.5`` for its 25.

    Args:
        lambd: weight of the distance between the views.
        mu: weight of keeping every dimension alive.
        nu: weight of decorrelating the dimensions.
        eps: what is added to the variances.

    Raises:
        ValueError: if a weight is negative.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> VICRegLoss()(z, z)
        tensor(0.)
    """

    def __init__(self, lambd: float = 25.0, mu: float = 25.0, nu: float = 1.0, eps: float = 1e-4) -> None:
        super().__init__()
        if not min(lambd, mu, nu) >= 0:
            raise ValueError(f"lambd={lambd}, mu={mu} and nu={nu} must not be negative; VICReg uses 25, 25 and 1")
        self.weights = lambd, mu, nu
        self.eps = eps

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            z0: embeddings of the first view, [batch, dim]; with several ranks the same shape on all.
            z1: embeddings of the second view of the same samples, [batch, dim].

        Returns:
            A scalar in float32 (float64 for float64), also for half-precision inputs and under autocast.

        Raises:
            ValueError: if the shapes differ, or are not [batch, dim] with at least two samples over all ranks.
        """
        invariance, alive, apart = self.terms(z0, z1)
        lambd, mu, nu = self.weights
        return lambd * invariance + mu * alive + nu * apart

    def terms(self, z0: Tensor, z1: Tensor) -> Terms:
        """Return invariance, variance and covariance without weights; arguments and errors as of `forward`."""
        if z0.shape != z1.shape or z0.ndim != 2 or len(z0) * world_size() < 2:
            raise ValueError(
                f"the two views have shapes {list(z0.shape)} and {list(z1.shape)}; "
                "both must be the same [batch, dim], with at least two samples"
            )
        dtype = torch.promote_types(torch.promote_types(z0.dtype, z1.dtype), torch.float32)
        with torch.autocast(z0.device.type, enabled=False):
            a, b = z0.to(dtype), z1.to(dtype)
            alive = variance(a, self.eps) + variance(b, self.eps)
            return F.mse_loss(a, b), alive, covariance(a) + covariance(b)

    def extra_repr(self) -> str:
        """Show the arguments."""
        lambd, mu, nu = self.weights
        return f"lambd={lambd}, mu={mu}, nu={nu}, eps={self.eps}"
