"""The losses of SimCLR: NT-Xent, DCL and DCLW, exact, over the batch of all ranks, in memory linear in the batch."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ssl_registry.nn import gather, rank, world_size
from ssl_registry_simclr.blocks import Visit, by_rows, by_tiles

__all__ = ["DCLLoss", "NTXentLoss"]


class NTXentLoss(nn.Module):
    """Normalised temperature-scaled cross-entropy of two views of a batch.

    With the 2N unit vectors z_i of both views, and j(i) the other view of i's sample, the loss of a row is

        l_i = -log( exp(<z_i, z_j(i)> / T) / sum_{k != i} exp(<z_i, z_k> / T) )

    and the loss is its mean over the 2N rows. With several ranks N counts the samples of all of them: each
    rank returns the mean over its own rows, and DDP's averaging makes the gradient that of the global mean.

    Source: Chen et al., 2020, arXiv:2002.05709, equation 1 and algorithm 1.

    Similarities and their gradient are computed in float32 block by block, so memory grows with N, not its
    square. A second derivative is not available.

    Args:
        temperature: T, above 0.
        gather_distributed: take negatives from all ranks. Every rank must then hold equally many samples.

    Raises:
        ValueError: if ``temperature`` is not above 0.

    Example:
        >>> loss = NTXentLoss(temperature=0.5)
        >>> z = torch.eye(4)
        >>> loss(z, z)  # log(exp(2) + 6) - 2: the other view agrees, three samples are orthogonal
        tensor(0.5944)
    """

    decoupled = False

    def __init__(self, temperature: float = 0.5, gather_distributed: bool = True) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be above 0; SimCLR uses 0.1 to 0.5")
        self.temperature = temperature
        self.gather_distributed = gather_distributed

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            z0: projections of the first view, [batch, dim]; they need not be normalised.
            z1: projections of the second view of the same samples, [batch, dim].

        Returns:
            A scalar in float32 (float64 for float64), also for half-precision inputs and under autocast.

        Raises:
            ValueError: if the shapes differ, or are not [batch, dim] with at least one sample.
        """
        if z0.shape != z1.shape or z0.ndim != 2 or len(z0) == 0:
            raise ValueError(
                f"the two views have shapes {list(z0.shape)} and {list(z1.shape)}; "
                "both must be the same [batch, dim], with at least one sample"
            )
        dtype = torch.promote_types(torch.promote_types(z0.dtype, z1.dtype), torch.float32)
        with torch.autocast(z0.device.type, enabled=False):
            rows = F.normalize(torch.cat([z0, z1]).to(dtype), dim=1)  # [2N, d]
            needs_grad = torch.is_grad_enabled() and rows.requires_grad
            visit = Visit(self.temperature, needs_grad, decoupled=self.decoupled)
            share = self.shares(rows)
            if self.gathers:
                keys = gather(rows)  # [W * 2N, d], this rank's rows from rank * 2N on
                visit = replace(visit, first=rank() * len(rows))
                return _Contrast.apply(rows, keys, visit, share)  # type: ignore[no-any-return]
            return _Contrast.apply(rows, None, visit, share)  # type: ignore[no-any-return]

    @property
    def gathers(self) -> bool:
        """Whether the samples of other ranks take part."""
        return self.gather_distributed and world_size() > 1

    def shares(self, rows: Tensor) -> Tensor | None:
        """Return how much each row's similarity to its other view counts, [2N], or None where all count 1.

        Args:
            rows: unit vectors of both views, [2N, dim].
        """
        return None

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"temperature={self.temperature}, gather_distributed={self.gather_distributed}"


class DCLLoss(NTXentLoss):
    """Decoupled contrastive loss: NT-Xent without the positive pair in the denominator; with ``sigma``, DCLW.

    With the 2N unit vectors z_i of both views, and j(i) the other view of i's sample, the loss of a row is

        l_i = -w_i <z_i, z_j(i)> / T + log sum_{k != i, k != j(i)} exp(<z_i, z_k> / T)

    and the loss is its mean over the 2N rows. For DCL w_i is 1. For DCLW it is the negative von Mises-Fisher weight

        w_i = 2 - exp(<z_i, z_j(i)> / sigma) / mean_n exp(<z_n, z_j(n)> / sigma),

    n over the samples of the batch: pairs that agree already count less. The mean weight is 1, and no gradient flows
    through it. With several ranks the negatives, and the mean in the weight,
    are those of all; each rank returns the mean over its own rows.

    Source: Yeh et al., 2022, arXiv:2110.06848, equation 6 and the weights behind it.

    Args:
        temperature: T, above 0.
        sigma: of the weights, above 0; None: no weights, which is DCL.
        gather_distributed: take negatives from all ranks. Every rank must then hold equally many samples.

    Raises:
        ValueError: if ``temperature`` or ``sigma`` is not above 0.

    Example:
        >>> loss = DCLLoss(temperature=0.5)
        >>> z = torch.eye(4)
        >>> loss(z, z)  # log(6) - 2: three samples are orthogonal, the other view is not among the negatives
        tensor(-0.2082)
    """

    decoupled = True

    def __init__(self, temperature: float = 0.1, sigma: float | None = None, gather_distributed: bool = True) -> None:
        super().__init__(temperature, gather_distributed)
        if sigma is not None and not sigma > 0:
            raise ValueError(f"sigma={sigma} must be above 0; DCLW uses 0.5")
        self.sigma = sigma

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        """Compute the loss; arguments, result and errors as of `NTXentLoss.forward`.

        Raises:
            ValueError: also for a single sample, which has no negatives.
        """
        if z0.ndim == 2 and len(z0) * (world_size() if self.gathers else 1) == 1:
            raise ValueError("a batch of one sample has no negatives; the decoupled loss needs at least two")
        return super().forward(z0, z1)

    def shares(self, rows: Tensor) -> Tensor | None:
        """Return the weights of DCLW, [2N], or None for DCL."""
        if self.sigma is None:
            return None
        first, second = rows.detach().chunk(2)
        logits = (first * second).sum(1) / self.sigma  # [N]
        everyone = gather(logits) if self.gathers else logits
        mean = everyone.logsumexp(0) - log(len(everyone))  # in logarithms, so that a small sigma does not overflow
        return (2 - torch.exp(logits - mean)).repeat(2)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"temperature={self.temperature}, sigma={self.sigma}, gather_distributed={self.gather_distributed}"


class _Contrast(torch.autograd.Function):
    """The mean loss of rows against keys, or of rows among themselves.

    The gradient is made in the forward pass, while a block of similarities is at hand: a row needs nothing
    but its own log-sum-exp. So nothing of the size rows x keys outlives its block.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, keys: Tensor | None, visit: Visit, share: Tensor | None) -> Tensor:
        if keys is None and visit.is_safe:
            loss, grad_rows = by_tiles(rows, visit, share)
            grad_keys = None
        else:
            loss, grad_rows, grad_keys = by_rows(rows, rows if keys is None else keys, visit, share)
            if keys is None and grad_rows is not None and grad_keys is not None:
                grad_rows, grad_keys = grad_rows.add_(grad_keys), None
        ctx.save_for_backward(grad_rows, grad_keys)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_rows, grad_keys = ctx.saved_tensors
        return grad * grad_rows, None if grad_keys is None else grad * grad_keys, None, None
