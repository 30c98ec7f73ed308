"""A large batch on a small device: a loss over many samples, whose network sees a few of them at a time.

The forward pass keeps no activations of the network, and the backward pass computes them once more, a micro-batch at a
time. The loss and its gradient are those of the whole batch, as with the cached gradients of Gao et al. (2021),
arXiv:2101.06983, which do the same by hand; here it is torch's checkpointing, so no method needs to know.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

__all__ = ["in_micro_batches", "twins"]


def twins(backbone: nn.Module, heads: nn.Module) -> list[nn.Module]:
    """Return the backbone and what is built as it is among the heads: the networks of momentum targets."""

    def shape(module: nn.Module) -> list[tuple[str, torch.Size]]:
        return [(name, tensor.shape) for name, tensor in module.state_dict().items()]

    built = shape(backbone)
    alike = [part for part in heads.modules() if type(part) is type(backbone) and shape(part) == built]
    return [backbone, *alike]


@contextmanager
def in_micro_batches(networks: Sequence[nn.Module], size: int) -> Iterator[None]:
    """Let networks take a batch in parts of ``size`` samples at most, as equal as can be.

    BatchNorm's statistics are those of a part. A part's activations live as long as its own backward pass.

    Args:
        networks: modules that map one tensor [batch, ...] to one tensor [batch, ...].
        size: of a part.
    """
    for network in networks:
        network.forward = partial(_in_parts, network, network.forward, size)
    try:
        yield
    finally:
        for network in networks:
            del network.forward  # the class's own again


def _in_parts(network: nn.Module, forward: Any, size: int, x: Tensor) -> Tensor:
    if len(x) <= size:
        whole: Tensor = forward(x)
        return whole
    parts = x.tensor_split(math.ceil(len(x) / size))
    if not torch.is_grad_enabled():
        return torch.cat([forward(part) for part in parts])
    contexts = partial(_contexts, network)
    return torch.cat([checkpoint(forward, part, use_reentrant=False, context_fn=contexts) for part in parts])


def _contexts(network: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _keeping_statistics(network)


@contextmanager
def _keeping_statistics(network: nn.Module) -> Iterator[None]:
    """Leave running statistics as they are: the second pass over a part must not count it again."""
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm) and part.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.sub_(1)
