"""`gather`: the batch of all ranks, with gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from ssl_registry.errors import BatchError

__all__ = ["gather", "rank", "world_size"]


def world_size() -> int:
    """Return the number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number among `world_size`; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(x: Tensor) -> Tensor:
    """Concatenate the ranks' tensors along the batch, in rank order, with gradient to every rank.

    The backward pass adds up the gradients that all ranks computed for this rank's slice. That makes
    distributed training exact: let rank r compute a loss L_r from the gathered batch and let
    L = (1/W) * sum_r L_r be the loss meant. This rank's parameters then receive the gradient of
    sum_r L_r through its own slice, and DDP's averaging over the W ranks adds the slices and divides by W,
    which is the gradient of L. A gather without gradient loses the part of L_r that belongs to the other
    ranks' samples; one that returns only this rank's gradient is wrong by a factor that grows with W.

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
        _check_alike(x)
    return _Gather.apply(x)  # type: ignore[no-any-return]


def _check_alike(x: Tensor) -> None:
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
