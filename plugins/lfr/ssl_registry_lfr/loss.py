"""The loss of LFR: Barlow Twins across the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["BatchWiseBarlowTwinsLoss"]

# Entries of the similarity matrices that are held at once: on a CPU they stay in the cache.
AT_ONCE = {"cpu": 1 << 18}
AT_ONCE_DEFAULT = 1 << 24


class BatchWiseBarlowTwinsLoss(nn.Module):
    """Make the similarities between samples the identity, from predictions to targets.

    With C = normalise(p) normalise(z)^T, the cosine similarity of each sample's prediction to each
    sample's target, [batch, batch]:

        loss = sum_i (C_ii - 1)^2 + lambd * sum_{i != j} C_ij^2

    Summed over the batch, not divided by it, as in the authors' code.

    Source: Sui et al., 2024, arXiv:2310.07756, and the authors' code; after Barlow Twins (Zbontar et al.,
    2021, arXiv:2103.03230), whose C is [dim, dim].

    The gradient is made along with the value, a few targets at a time, so K matrices are never held at once. A
    second derivative is not available.

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
            p, z = pred.to(dtype), target.to(dtype)
            if pred.ndim == 2:
                p, z = p[None], z[None]
            needs_grad = torch.is_grad_enabled() and (p.requires_grad or z.requires_grad)
            return _TowardsIdentity.apply(p, z, self.lambd, needs_grad)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Show the argument."""
        return f"lambd={self.lambd}"


class _TowardsIdentity(torch.autograd.Function):
    """The mean over K of the loss of [K, batch, dim]."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, z: Tensor, lambd: float, needs_grad: bool) -> Tensor:
        # The norm is bounded from below as in `F.normalize`: a vector of zeros stays one.
        norms = [torch.linalg.vector_norm(x, dim=2, keepdim=True).clamp_min_(1e-12) for x in (p, z)]
        units = [x / norm for x, norm in zip((p, z), norms, strict=True)]
        grads = [
            torch.empty_like(unit) if needs_grad and needed else None
            for unit, needed in zip(units, ctx.needs_input_grad, strict=False)
        ]
        block = max(1, AT_ONCE.get(p.device.type, AT_ONCE_DEFAULT) // max(1, p.shape[1] ** 2))
        parts = [slice(start, start + block) for start in range(0, len(p), block)]
        way = _by_grams if 3 * p.shape[2] < 2 * p.shape[1] else _by_similarities
        losses = []
        for part in parts:
            of_p, of_z = (None if grad is None else grad[part] for grad in grads)
            losses.append(way(units[0][part], units[1][part], lambd, of_p, of_z))
        for grad, unit, norm in zip(grads, units, norms, strict=True):
            if grad is not None:  # from the unit vectors to the vectors: what points along them changes nothing
                grad.addcmul_(unit, (grad * unit).sum(2, keepdim=True), value=-1).mul_(2 / len(p) / norm)
        ctx.save_for_backward(*grads)
        return torch.stack(losses).sum() / len(p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        of_p, of_z = (None if own is None else own * grad for own in ctx.saved_tensors)
        return of_p, of_z, None, None


def _by_similarities(p: Tensor, z: Tensor, lambd: float, of_p: Tensor | None, of_z: Tensor | None) -> Tensor:
    """Sum the losses of [k, batch, dim]; write half of the gradients into ``of_p`` and ``of_z``."""
    c = torch.bmm(p, z.mT)
    diagonal = c.diagonal(dim1=1, dim2=2)
    on = diagonal - 1
    # Zeroed, not subtracted from the whole sum, which would leave rounding where there is nothing.
    diagonal.zero_()
    flat = c.flatten()
    loss = on.square().sum() + lambd * torch.dot(flat, flat)
    if of_p is not None or of_z is not None:
        c.mul_(lambd)  # half the gradient of C, once its diagonal is put back
        diagonal.copy_(on)
    if of_p is not None:
        torch.bmm(c, z, out=of_p)
    if of_z is not None:
        torch.bmm(c.mT, p, out=of_z)
    return loss


def _by_grams(p: Tensor, z: Tensor, lambd: float, of_p: Tensor | None, of_z: Tensor | None) -> Tensor:
    """Do the same through ||P Z^T||^2 = <P^T P, Z^T Z>: matrices of [dim, dim], for a batch much wider than dim."""
    gram_p, gram_z = torch.bmm(p.mT, p), torch.bmm(z.mT, z)
    diagonal = (p * z).sum(2, keepdim=True)  # [k, batch, 1]
    off = torch.dot(gram_p.flatten(), gram_z.flatten()) - diagonal.square().sum()
    # Half the gradient of C's diagonal, beyond what the sum over all of C gives it.
    rest = diagonal - 1 - lambd * diagonal
    if of_p is not None:
        torch.baddbmm(rest * z, p, gram_z, alpha=lambd, out=of_p)
    if of_z is not None:
        torch.baddbmm(rest * p, z, gram_p, alpha=lambd, out=of_z)
    return (diagonal - 1).square().sum() + lambd * off.clamp(min=0)  # a sum of squares, whatever the rounding
