"""`Context`: what a hook may know of the run, and what it may do besides computing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_registry.nn import gather

__all__ = ["Context"]


@dataclass(frozen=True, slots=True)
class Context:
    """Where the run stands. Made anew for every call; keep nothing of it.

    Args:
        epoch: epochs done, from 0.
        step: optimizer steps done; in `on_step_end` the one just made is counted.
        max_steps: optimizer steps of the whole run; None when the run has no known end, or outside of one.
        rank: of this process, from 0.
        world_size: number of processes.
        generator: random numbers on the model's device, a pure function of seed, epoch, batch and rank.
        log: ``log(name, value)`` records a scalar; a tensor is not synchronised.
    """

    epoch: int
    step: int
    max_steps: int | None
    rank: int
    world_size: int
    generator: torch.Generator
    log: Callable[[str, Tensor | float], None]

    def gather(self, x: Tensor) -> Tensor:
        """Concatenate [batch, ...] of all ranks to [world_size * batch, ...], with gradient."""
        return gather(x)
