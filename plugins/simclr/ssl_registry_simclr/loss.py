"""The loss of SimCLR: NT-Xent, exact, over the batch of all ranks, in memory linear in the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ssl_registry.nn import gather, rank, world_size
from ssl_registry_simclr.blocks import Visit, by_rows, by_tiles

__all__ = ["NTXentLoss"]


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
            if self.gather_distributed and world_size() > 1:
                keys = gather(rows)  # [W * 2N, d], this rank's rows from rank * 2N on
                visit = Visit(self.temperature, needs_grad, first=rank() * len(rows))
                return _NTXent.apply(rows, keys, visit)  # type: ignore[no-any-return]
            return _NTXent.apply(rows, None, Visit(self.temperature, needs_grad))  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"temperature={self.temperature}, gather_distributed={self.gather_distributed}"


class _NTXent(torch.autograd.Function):
    """The mean loss of rows against keys, or of rows among themselves.

    The gradient is made in the forward pass, while a block of similarities is at hand: a row needs nothing
    but its own log-sum-exp. So nothing of the size rows x keys outlives its block.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, keys: Tensor | None, visit: Visit) -> Tensor:
        if keys is None and visit.is_safe:
            loss, grad_rows = by_tiles(rows, visit)
            grad_keys = None
        else:
            loss, grad_rows, grad_keys = by_rows(rows, rows if keys is None else keys, visit)
            if keys is None and grad_rows is not None and grad_keys is not None:
                grad_rows, grad_keys = grad_rows.add_(grad_keys), None
        ctx.save_for_backward(grad_rows, grad_keys)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_rows, grad_keys = ctx.saved_tensors
        return grad * grad_rows, None if grad_keys is None else grad * grad_keys, None
