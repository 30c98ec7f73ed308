"""`StepCollector`: what the micro-batches of one optimizer step leave for its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["StepCollector", "not_collecting"]

_paused: ContextVar[bool] = ContextVar("paused", default=False)


@contextmanager
def not_collecting() -> Iterator[None]:
    """Let no `StepCollector` keep anything inside the block: for a loss that is computed once more, to look at it.

    Example:
        >>> collector = StepCollector()
        >>> with not_collecting():
        ...     collector.collect(torch.ones(2, 3))
        >>> collector.take() is None
        True
    """
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


class StepCollector(nn.Module):
    """Hold tensors from `compute_loss` until `on_step_end`, for state that moves with the optimizer step.

    A queue of keys or a moving centre is fed by the batches, but it must not move with every micro-batch: a run
    that is resumed inside a group of accumulated micro-batches repeats that group, and would feed it twice. So
    `compute_loss` collects, and `on_step_end` takes. What is collected is therefore not saved, and loading a
    checkpoint empties the collector. In evaluation mode nothing is collected, so that a validation leaves no trace, nor
    inside of `not_collecting`.

    Example:
        >>> collector = StepCollector()
        >>> collector.collect(torch.ones(2, 3))
        >>> collector.collect(torch.zeros(1, 3))
        >>> collector.take().shape, collector.take()
        (torch.Size([3, 3]), None)
    """

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[Tensor] = []

    def collect(self, x: Tensor) -> None:
        """Keep a tensor [batch, ...], without its gradient, if this module is in training mode."""
        if self.training and not _paused.get():
            self._parts.append(x.detach())

    def take(self) -> Tensor | None:
        """Return all that was collected, concatenated along the batch, and forget it; None if nothing was."""
        parts, self._parts = self._parts, []
        return torch.cat(parts) if parts else None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._parts = []
        super()._load_from_state_dict(*args, **kwargs)
