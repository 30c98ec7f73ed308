"""`off_diagonal_squares`: how much different dimensions say the same, over the batch of all ranks."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ssl_registry.nn.gather import check_alike, gather, reduce_ranks, world_size

__all__ = ["off_diagonal_squares"]

# Entries whose squares are held at once.
AT_ONCE = 1 << 20


@overload
def off_diagonal_squares(a: Tensor, b: Tensor | None = None, *, diagonal: Literal[False] = False) -> Tensor: ...
@overload
def off_diagonal_squares(a: Tensor, b: Tensor | None = None, *, diagonal: Literal[True]) -> tuple[Tensor, Tensor]: ...
def off_diagonal_squares(
    a: Tensor, b: Tensor | None = None, *, diagonal: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Add up the squared entries of ``a^T b`` off the diagonal, over the batch of all ranks.

    With C_ij = sum_n a_ni b_nj, n over the samples of all ranks: sum_{i != j} C_ij^2. Of standardised views divided
    by sqrt(n) it is the redundancy term of Barlow Twins (Zbontar et al., 2021, arXiv:2103.03230, equation 1); of one
    centred view divided by sqrt(n - 1), the covariance term of VICReg before its division by the dimension (Bardes et
    al., 2022, arXiv:2105.04906, equation 4).

    The sum of all C_ij^2 is also the sum of (a a^T)_nm (b b^T)_nm over pairs of samples. So the smaller of the two
    kinds of matrices is made: [batch, batch of all ranks], or [dim, dim]. The gradient is made along with the value,
    and is that of the global batch, as for `gather`. A second derivative is not available.

    Where a column of ``a`` and of ``b`` is much larger than all others, the way by samples takes a large square off a
    large sum, and float32 keeps as many digits as of that sum.

    Args:
        a: [batch, dim]; with several ranks the same shape on all.
        b: of the same shape; default: ``a`` itself.
        diagonal: return the diagonal too, C_ii [dim], which is at hand and whose gradient takes no pass of its own.

    Returns:
        A scalar, the same on every rank, in float32 (float64 for float64), also under autocast; with ``diagonal`` that
        and the diagonal.

    Raises:
        ValueError: if the shapes differ or are not [batch, dim].
        BatchError: if batches differ in size between ranks; told on CPUs alone.

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
        other = None if b is None or b is a else b.to(dtype)
        value, entries = _OffDiagonalSquares.apply(a, other, diagonal)
        return (value, entries) if diagonal else value


class _OffDiagonalSquares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None, diagonal: bool) -> tuple[Tensor, Tensor]:
        batch, dim = a.shape
        if world_size() > 1 and a.device.type == "cpu":
            check_alike(a)  # ranks that chose different ways would wait for each other
        # Multiplications for one rank's value and gradient: by samples 4 * batch * everyone * dim, by dimensions
        # 3 * batch * dim * dim; of one view 2 in place of both 4 and 3.
        everyone = batch * world_size()
        by_samples = everyone < dim if b is None else 4 * everyone < 3 * dim
        needs_a, needs_b, _ = ctx.needs_input_grad
        value, entries, grad_a, grad_b = (_by_samples if by_samples else _by_dimensions)(a, b, needs_a, needs_b)
        ctx.save_for_backward(grad_a, grad_b, *((a, b) if diagonal else (None, None)))
        if not diagonal:
            ctx.mark_non_differentiable(entries)
        return value, entries

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_a, grad_b, a, b = ctx.saved_tensors
        grad = reduce_ranks(grad.clone())  # what the losses of all ranks make of this value
        grad_a, grad_b = (None if x is None else x * grad for x in (grad_a, grad_b))
        if a is not None:  # and of the diagonal
            slopes = reduce_ranks(slopes.clone())
            if grad_a is not None:
                grad_a.addcmul_(slopes, 2 * a if b is None else b)
            if grad_b is not None:
                grad_b.addcmul_(slopes, a)
        return grad_a, grad_b, None


Parts = tuple[Tensor, Tensor, Tensor | None, Tensor | None]


def _by_dimensions(a: Tensor, b: Tensor | None, needs_a: bool, needs_b: bool) -> Parts:
    """Return the value, the diagonal and the value's gradients, from the products of dimensions [dim, dim]."""
    products = reduce_ranks(a.T @ (a if b is None else b))
    diagonal = products.diagonal().clone()
    products.fill_diagonal_(0.0)
    value = _sum_of_products(products, products)
    if b is None:
        return value, diagonal, (a @ products).mul_(4) if needs_a else None, None
    grad_a = (b @ products.T).mul_(2) if needs_a else None
    return value, diagonal, grad_a, (a @ products).mul_(2) if needs_b else None


def _by_samples(a: Tensor, b: Tensor | None, needs_a: bool, needs_b: bool) -> Parts:
    """Return the same from the products of samples [batch, batch of all ranks], less what is on the diagonal."""
    diagonal = reduce_ranks((a * (a if b is None else b)).sum(0))  # [dim]
    everyones_a = gather(a)
    products_a = a @ everyones_a.T
    if b is None:
        value = reduce_ranks(_sum_of_products(products_a, products_a)) - diagonal.square().sum()
        grad = torch.addcmul(products_a @ everyones_a, diagonal, a, value=-1).mul_(4) if needs_a else None
        return value, diagonal, grad, None
    everyones_b = gather(b)
    products_b = b @ everyones_b.T
    value = reduce_ranks(_sum_of_products(products_a, products_b)) - diagonal.square().sum()
    grad_a = torch.addcmul(products_b @ everyones_a, diagonal, b, value=-1).mul_(2) if needs_a else None
    grad_b = torch.addcmul(products_a @ everyones_b, diagonal, a, value=-1).mul_(2) if needs_b else None
    return value, diagonal, grad_a, grad_b


def _sum_of_products(x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of x * y, some rows at a time: a matrix of the products would be one more of this size."""
    rows = max(1, AT_ONCE // x.shape[1])
    parts = [(x[start : start + rows] * y[start : start + rows]).sum() for start in range(0, len(x), rows)]
    return torch.stack(parts).sum()
