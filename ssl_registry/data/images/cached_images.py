"""`CachedImages`: images that lie decoded in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ssl_registry.data.samples import Batch

__all__ = ["CachedImages"]


class CachedImages(Dataset[Any]):
    """Images of a cache as a data set: uint8 [channels, size, size], mapped from the disk, not read into memory.

    Args:
        place: a folder that `cache.cache_source` wrote.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.facts: dict[str, Any] = json.loads((place / "facts.json").read_text(encoding="utf-8"))
        labels = place / "labels.npy"
        self.labels = torch.from_numpy(np.load(labels)) if labels.exists() else None
        self._open()

    def _open(self) -> None:
        self.images = np.memmap(self.place / "images.u8", np.uint8, "r", shape=tuple(self.facts["shape"]))

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return tuple(self.facts["shape"][1:])

    @property
    def broken(self) -> dict[str, str]:
        """The images that could not be read when the cache was made: their names, and why."""
        broken: dict[str, str] = self.facts["broken"]
        return broken

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = torch.from_numpy(np.array(self.images[index]))
        return image if self.labels is None else (image, self.labels[index])

    def __getitems__(self, indices: list[int]) -> list[Batch]:
        """Return one entry that holds all ``indices``, as `Samples` does."""
        rows = np.asarray(indices)
        return [Batch(torch.from_numpy(self.images[rows]), None if self.labels is None else self.labels[rows])]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the map behind: pickling it would copy the whole file."""
        return {key: value for key, value in self.__dict__.items() if key != "images"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the file again."""
        self.__dict__.update(state)
        self._open()
