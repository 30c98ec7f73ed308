"""`Context`: what a hook may know of the run, and what it may do besides computing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.errors import ContractError
from ssl_registry.nn import gather

__all__ = ["Boxes", "Context", "Place"]


@dataclass(frozen=True)
class Boxes:
    """Where a view was cut out of the samples of a batch.

    Args:
        box: int64, on the model's device. Images [batch, 4]: top, left, height and width, in pixels of the sample; a
            rotation or a shift of the view comes after that. Signals [batch, 2]: the first step, and the one behind
            the last.
        flipped: bool [batch], of images: whether left and right changed places. None for signals.
        host: ``box`` on the host, for Python's own numbers: reading them makes nobody wait for the device.
    """

    box: Tensor
    flipped: Tensor | None
    host: NDArray[np.int64]


class Place(Protocol):
    """What a context finds out when it is asked: random numbers of this place in the run, and facts of its batch."""

    @property
    def shared_generator(self) -> torch.Generator:
        """See `Context`."""

    @property
    def numpy_generator(self) -> np.random.Generator:
        """See `Context`."""

    @property
    def indices(self) -> Tensor:
        """See `Context`."""

    def boxes(self, view: int) -> Boxes:
        """See `Context`."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where the run stands. Made anew for every call; keep nothing of it.

    It knows no labels.

    Args:
        epoch: epochs done, from 0.
        step: optimizer steps done; in `on_step_end` the one just made is counted.
        max_steps: optimizer steps of the whole run; None when the run has no known end, or outside of one.
        rank: of this process, from 0.
        world_size: number of processes.
        generator: random numbers on the model's device, a pure function of seed, epoch, batch and rank.
        log: ``log(name, value)`` records a scalar; a tensor is not synchronised.
        place: what the properties below ask; a context that was made by hand has none.
    """

    epoch: int
    step: int
    max_steps: int | None
    rank: int
    world_size: int
    generator: torch.Generator
    log: Callable[[str, Tensor | float], None]
    place: Place | None = None

    def gather(self, x: Tensor) -> Tensor:
        """Concatenate [batch, ...] of all ranks to [world_size * batch, ...], with gradient."""
        return gather(x)

    @property
    def shared_generator(self) -> torch.Generator:
        """Random numbers on the model's device, equal on all ranks: a pure function of seed, epoch and batch."""
        return self._known().shared_generator

    @property
    def numpy_generator(self) -> np.random.Generator:
        """Random numbers on the host, a pure function of seed, epoch, batch and rank."""
        return self._known().numpy_generator

    @property
    def indices(self) -> Tensor:
        """Which samples of the training source the batch holds, int64 [batch], on the model's device.

        Raises:
            BatchError: if the batch does not tell, with a loader whose batches do.
        """
        return self._known().indices

    def boxes(self, view: int) -> Boxes:
        """Tell where a view was cut out of the samples.

        Args:
            view: its number among the views that `compute_loss` is given.

        Raises:
            BatchError: if the batch came with ready-made views.
            ConfigError: if there is no such view, or it is one of a table, which is not cut.
        """
        return self._known().boxes(view)

    def _known(self) -> Place:
        if self.place is None:
            raise ContractError("this context was made by hand, and knows neither a batch nor more random numbers")
        return self.place
