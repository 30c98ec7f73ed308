"""`gather`, `all_sum`, `all_mean`: the batch of all ranks and its statistics, with the gradient of the global batch.

All three follow one rule. Let rank r compute a loss L_r, and let L = (1/W) * sum_r L_r be the loss meant. The
backward pass gives each rank the gradient of sum_r L_r with respect to its own tensor; DDP's averaging over the W
ranks then makes the gradient of L. Where all ranks compute the same L_r from the global batch, that is the gradient
of one process which holds the whole batch.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from ssl_registry.errors import BatchError

__all__ = ["all_mean", "all_sum", "gather", "rank", "world_size"]


def world_size() -> int:
    """Return the number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number among `world_size`; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(x: Tensor) -> Tensor:
    """Concatenate the ranks' tensors along the batch, in rank order, with gradient to every rank.

    The backward pass adds up the gradients that all ranks computed for this rank's slice, which makes distributed
    training exact. A gather without gradient loses the part of L_r that belongs to the other ranks' samples; one that
    returns only this rank's gradient is wrong by a factor that grows with W.

    Args:
        x: [batch, ...]; the same shape and dtype on every rank, and with or without gradient on all alike.

    Returns:
        [world_size * batch, ...]; ``x`` itself when one process trains alone.

    Raises:
        ValueError: if ``x`` has no batch axis.
        BatchError: if batches differ in size between ranks; told on CPUs alone.

    Example:
        >>> gather(torch.ones(2, 3)).shape  # one process
        torch.Size([2, 3])
    """
    if x.ndim == 0:
        raise ValueError("gather needs a batch axis, and got a scalar; use x.unsqueeze(0)")
    if world_size() == 1:
        return x
    if x.device.type == "cpu":
        check_alike(x)
    return _Gather.apply(x)  # type: ignore[no-any-return]


def check_alike(x: Tensor) -> None:
    """Refuse batches of unequal sizes on all ranks alike; gloo would end the process without a Python error.

    On CPUs only: asking costs a GPU a wait for the device in each step.
    """
    sizes = torch.empty(world_size(), dtype=torch.long)
    dist.all_gather_into_tensor(sizes, torch.tensor([len(x)]))
    if len(set(sizes.tolist())) > 1:
        raise BatchError(
            f"gather needs batches of one size on all ranks, these are {sizes.tolist()}; let the loader drop the last "
            "one: drop_last=True"
        )


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.batch = len(x)
        everyone = x.new_empty((world_size() * len(x), *x.shape[1:]))
        dist.all_gather_into_tensor(everyone, x.contiguous())
        return everyone

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # Each rank needs the sum for its own slice alone.
        mine = grad.new_empty((ctx.batch, *grad.shape[1:]))
        dist.reduce_scatter_tensor(mine, grad.contiguous(), op=dist.ReduceOp.SUM)
        return mine


def all_sum(x: Tensor) -> Tensor:
    """Add up the ranks' tensors, entry by entry, with gradient to every rank.

    Args:
        x: of any shape, the same on every rank.

    Returns:
        The sum, of the same shape; ``x`` itself when one process trains alone.

    Example:
        >>> a, b = torch.eye(3), torch.ones(3, 3)
        >>> all_sum(a.T @ b).shape  # a cross-correlation of the global batch; one process
        torch.Size([3, 3])
    """
    return x if world_size() == 1 else _AllSum.apply(x)


def all_mean(x: Tensor) -> Tensor:
    """Average over the samples of all ranks, with gradient to every rank.

    The same as ``gather(x).mean(0)`` without the memory, and also where ranks hold batches of different sizes: each
    sample has the same weight. Variances of the global batch are ``all_mean((x - all_mean(x)).square())``.

    Args:
        x: [batch, ...].

    Returns:
        [...], the same on every rank, in float32 (float64 for float64).

    Raises:
        ValueError: if ``x`` has no batch axis.

    Example:
        >>> all_mean(torch.tensor([[0.0, 1.0], [2.0, 5.0]]))  # one process
        tensor([1., 3.])
    """
    if x.ndim == 0:
        raise ValueError("all_mean needs a batch axis, and got a scalar; use x.unsqueeze(0)")
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if world_size() == 1:
        return x.mean(0)
    # Sum and count travel together: one message in place of two.
    total = all_sum(torch.cat([x.sum(0).flatten(), x.new_full((1,), len(x))]))
    return (total[:-1] / total[-1]).view(x.shape[1:])


class _AllSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return reduce_ranks(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return reduce_ranks(grad.clone(memory_format=torch.contiguous_format))


def reduce_ranks(x: Tensor, operation: Literal["SUM", "MAX"] = "SUM") -> Tensor:
    """Reduce a tensor over the ranks, in place and outside of autograd; for blocks that make their own gradient."""
    if world_size() > 1:
        dist.all_reduce(x, op=getattr(dist.ReduceOp, operation))
    return x
