"""A training batch's loss computed a second time, without a trace; and its trivial value, for any method.

The trivial value is what a batch costs when the backbone gives every sample the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn

from ssl_registry.model.module import SSLModule
from ssl_registry.nn import Tokens, not_collecting

__all__ = ["is_compiled", "keeps_weights_whole", "recompute_loss", "trivial_loss"]


def keeps_weights_whole(trainer: Trainer) -> bool:
    """Tell whether a rank has all weights and can run the network by itself: not where they are sharded (FSDP)."""
    return isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)


def recompute_loss(model: SSLModule, batch: Any, batch_idx: int) -> Tensor:
    """Compute the loss of a training batch, from the views that training drew, uncompiled.

    Buffers, such as BatchNorm's statistics, are left as they were found, no `StepCollector` keeps anything, and nothing
    is logged.

    Args:
        model: in a trainer's hands, in train mode.
        batch, batch_idx: as `training_step` had them.
    """
    with _restored_buffers(model), _uncompiled(model), not_collecting():
        return model.batch_loss(batch, batch_idx, quiet=True)[0]


@torch.no_grad()
def trivial_loss(model: SSLModule, batch: Any, batch_idx: int) -> Tensor:
    """Compute that loss with every feature replaced by the batch's mean feature; arguments as `recompute_loss`."""

    def alike(x: Tensor) -> Tensor:
        return x.mean(0, keepdim=True).expand_as(x)

    def mean(module: nn.Module, inputs: Any, output: Tensor | Tokens) -> Tensor | Tokens:
        if isinstance(output, Tokens):
            layers = tuple(map(alike, output.layers))
            return Tokens(alike(output.prefix), alike(output.patches), output.grid, layers)
        return alike(output)

    handle = model.backbone.register_forward_hook(mean)
    try:
        return recompute_loss(model, batch, batch_idx)
    finally:
        handle.remove()


def is_compiled(model: SSLModule) -> bool:
    """Tell whether ``torch.nn.Module.compile`` was called on the backbone or a head."""
    parts = (model.backbone, *model.heads.values())
    return any(getattr(part, "_compiled_call_impl", None) is not None for part in parts)


def _uncompiled(model: SSLModule) -> AbstractContextManager[Any]:
    # Asking for a stance loads the compiler, which takes seconds.
    return torch.compiler.set_stance("force_eager") if is_compiled(model) else nullcontext()


@contextmanager
def _restored_buffers(model: nn.Module) -> Iterator[None]:
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
