"""A batch on its way to the loss: its views, and what a context tells of the place where they were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_registry.contract.context import Boxes
from ssl_registry.errors import BatchError
from ssl_registry.model.batches import read_batch
from ssl_registry.views import ViewPolicy, sample_keys
from ssl_registry.views.crops import Cut
from ssl_registry.views.device.numbers import to_device

__all__ = ["BatchPlace", "NoIndices", "TrainingBatch"]

TELLING = (
    "`ssl_registry.train` and a Trainer with an SSLDataModule have batches that do; a loader of your own does with "
    "mappings {'x': samples, 'indices': numbers in the source}"
)


class NoIndices(BatchError):
    """A batch does not tell which samples of the training source it holds; one of held-out samples never does."""


class TrainingBatch:
    """A batch in any accepted form, and how its views are drawn.

    Args:
        batch: as a loader gave it.
        policy: of the views.
        input_shape: of one sample.
        seed: from which keys come where the batch has none: a function of its place in the epoch.
        batch_key: decides what is alike for all samples, the same on all ranks.
        owner: the method's name, for messages.

    Raises:
        BatchError: for a batch of another form, or another number of views than the policy has.
    """

    def __init__(
        self,
        batch: Any,
        policy: ViewPolicy,
        input_shape: tuple[int, ...],
        *,
        seed: int,
        batch_key: int,
        owner: str,
    ) -> None:
        self.given = read_batch(batch, input_shape)
        self.policy = policy
        self.batch_key = batch_key
        self.fields: Mapping[str, Any] = batch if isinstance(batch, Mapping) else {}
        self.has_views = len(self.given) > 1 or "views" in self.fields
        self.keys = self.fields.get("keys")
        if self.keys is None and not self.has_views:
            self.keys = sample_keys(seed, 0, range(len(self.given[0])))
        if self.has_views and len(self.given) != policy.num_views:
            raise BatchError(
                f"{owner} takes {policy.num_views} view(s), the batch holds {len(self.given)}; give that many, or a "
                "single one and let the view policy draw them"
            )

    def views(self) -> list[Tensor]:
        """Draw the views, or finish those that the batch has, on its device."""
        whole = {"views": self.given} if self.has_views else {"x": self.given[0]}
        finished = self.fields.get("finished", False)
        return self.policy.views_of({**whole, "keys": self.keys, "finished": finished, "batch_key": self.batch_key})

    def cut(self, view: int) -> Cut:
        """Return where a view was cut out.

        Raises:
            BatchError: if the batch does not tell.
        """
        size = self.fields.get("size") if self.has_views else tuple(self.given[0].shape[2:])
        if self.keys is None or size is None:
            raise BatchError(f"this batch came with ready-made views: nothing tells their boxes. {TELLING}")
        return self.policy.cut(view, self.keys, size, batch_key=self.batch_key)


class BatchPlace:
    """A `ssl_registry.contract.context.Place`: everything is made when it is asked for.

    Args:
        device: of the model.
        seed: of this batch on this rank.
        shared_seed: of this batch on every rank.
        batch: that is trained on; None in a hook that has none.
    """

    def __init__(self, device: torch.device, seed: int, shared_seed: int, batch: TrainingBatch | None) -> None:
        self.device = device
        self.seed = seed
        self.shared_seed = shared_seed
        self.batch = batch

    @cached_property
    def shared_generator(self) -> torch.Generator:
        """A generator of its own, seeded alike on all ranks."""
        return torch.Generator(self.device).manual_seed(self.shared_seed)

    @cached_property
    def numpy_generator(self) -> np.random.Generator:
        """A generator of its own on the host."""
        return np.random.default_rng(self.seed)

    @cached_property
    def indices(self) -> Tensor:
        """The batch's ``indices``, on the model's device."""
        batch = self._known("indices")
        found = batch.fields.get("indices")
        if found is None:
            raise NoIndices(f"this batch does not tell which samples it holds: there are no ctx.indices. {TELLING}")
        indices = torch.as_tensor(found, dtype=torch.int64)
        if indices.shape != batch.given[0].shape[:1]:
            raise BatchError(
                f"the batch has indices of shape {list(indices.shape)} and {len(batch.given[0])} samples; give each "
                "its number"
            )
        return to_device(indices, self.device)

    def boxes(self, view: int) -> Boxes:
        """Find out where a view was cut, as it was drawn."""
        cut = self._known("boxes").cut(view)
        flipped = None if cut.flipped is None else to_device(cut.flipped, self.device)
        return Boxes(to_device(cut.box, self.device), flipped, cut.box)

    def _known(self, what: str) -> TrainingBatch:
        if self.batch is None:
            raise BatchError(f"there is no batch in this hook, so no ctx.{what}; compute_loss has one")
        return self.batch
