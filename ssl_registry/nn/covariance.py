"""`off_diagonal_squares`: how much different dimensions say the same, over the batch of all ranks."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from ssl_registry.nn.gather import gather, world_size

__all__ = ["off_diagonal_squares"]


def off_diagonal_squares(a: Tensor, b: Tensor | None = None) -> Tensor:
    """Add up the squared entries of ``a^T b`` off the diagonal, over the batch of all ranks.

    With C_ij = sum_n a_ni b_nj, n over the samples of all ranks: sum_{i != j} C_ij^2. Of standardised views divided
    by sqrt(n) it is the redundancy term of Barlow Twins (Zbontar et al., 2021, arXiv:2103.03230, equation 1); of one
    centred view divided by sqrt(n - 1), the covariance term of VICReg before its division by the dimension (Bardes et
    al., 2022, arXiv:2105.04906, equation 4).

    The sum of all C_ij^2 is also the sum of (a a^T)_nm (b b^T)_nm over pairs of samples. So the smaller of the two
    kinds of matrices is made: [batch, batch of all ranks], or [dim, dim]. The gradient is made along with the value,
    and is that of the global batch, as for `gather`. A second derivative is not available.

    Args:
        a: [batch, dim]; with several ranks the same shape on all.
        b: of the same shape; default: ``a`` itself.

    Returns:
        A scalar, the same on every rank, in float32 (float64 for float64), also under autocast.

    Raises:
        ValueError: if the shapes differ or are not [batch, dim].

    Example:
        >>> off_diagonal_squares(torch.tensor([[1.0, 2.0], [1.0, -3.0]]))  # a^T a has -1 off the diagonal
        tensor(2.)
    """
    if a.ndim != 2 or (b is not None and b.shape != a.shape):
        shapes = [list(x.shape) for x in (a, b) if x is not None]
        raise ValueError(f"shapes are {shapes}; they must be one [batch, dim]")
    dtype = torch.promote_types(a.dtype, torch.float32)
    with torch.autocast(a.device.type, enabled=False):
        a = a.to(dtype)
        if b is None or b is a:
            return _OffDiagonalSquares.apply(a, None)  # type: ignore[no-any-return]
        return _OffDiagonalSquares.apply(a, b.to(dtype))  # type: ignore[no-any-return]


class _OffDiagonalSquares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None) -> Tensor:
        single = b is None
        b = a if b is None else b
        diagonal = _all_reduced((a * b).sum(0))  # [dim]
        batch, dim = a.shape
        # Multiplications for one rank's value and gradient: of samples 4 (single: 2) * batch * everyone * dim, of
        # dimensions 3 (single: 2) * batch * dim * dim.
        everyone = batch * world_size()
        if everyone < dim if single else 4 * everyone < 3 * dim:
            value, grad_a, grad_b = _by_samples(a, b, single)
        else:
            value, grad_a, grad_b = _by_dimensions(a, b, single)
        value -= diagonal.square().sum()
        grad_a = (grad_a - diagonal * b).mul_(4 if single else 2)
        ctx.save_for_backward(grad_a, None if grad_b is None else (grad_b - diagonal * a).mul_(2))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        grad_a, grad_b = ctx.saved_tensors
        grad = _all_reduced(grad.clone())  # what the losses of all ranks make of this value
        return grad_a * grad, None if grad_b is None else grad_b * grad


def _by_samples(a: Tensor, b: Tensor, single: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the sum of all squares and half its gradients, from products of samples [batch, batch of all ranks]."""
    everyones_a = gather(a)
    products_a = a @ everyones_a.T
    if single:
        return _all_reduced(products_a.square().sum()), products_a @ everyones_a, None
    everyones_b = gather(b)
    products_b = b @ everyones_b.T
    value = _all_reduced((products_a * products_b).sum())
    return value, products_b @ everyones_a, products_a @ everyones_b


def _by_dimensions(a: Tensor, b: Tensor, single: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the same from the products of dimensions [dim, dim]."""
    products = _all_reduced(a.T @ b)
    return products.square().sum(), b @ products.T, None if single else a @ products


def _all_reduced(x: Tensor) -> Tensor:
    """Add up over the ranks, in place."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x
