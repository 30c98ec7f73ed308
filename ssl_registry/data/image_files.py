"""`ImageFiles`: image files decoded when they are asked for, and what happens with broken ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssl_registry.data.images import decode
from ssl_registry.errors import DataError

__all__ = ["ImageFiles"]


class ImageFiles(Dataset[Any]):
    """Image files as uint8 [channels, size, size].

    A file that cannot be read never ends an epoch: the next one that can takes its place, with its own label,
    and a warning names the file, once. All processes that load share the count.

    Args:
        files: their paths.
        labels: one a file; None when there are none.
        size: side in pixels.
        channels: 3, or 1 for grey.
    """

    def __init__(self, files: Sequence[Path], labels: Sequence[int] | None, *, size: int, channels: int) -> None:
        self.files = list(files)
        self.labels = None if labels is None else torch.tensor(labels, dtype=torch.int64)
        self.size = size
        self.channels = channels
        # In shared memory: workers find the broken files, the main process reports them.
        self._broken = torch.zeros(len(self.files), dtype=torch.bool)
        self._broken.share_memory_()  # type: ignore[no-untyped-call]  # torch's own

    @property
    def broken(self) -> list[Path]:
        """The files that could not be read so far."""
        return [self.files[index] for index in self._broken.nonzero().flatten().tolist()]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        count = len(self.files)
        if not -count <= index < count:
            raise IndexError(f"there are {count} files, not one at {index}")
        for step in range(count):
            chosen = (index + step) % count
            if not self._broken[chosen] and (image := self._read(chosen)) is not None:
                return image if self.labels is None else (image, self.labels[chosen])
        raise DataError(f"none of the {count} image files from {self.files[0].parent} can be read")

    def _read(self, index: int) -> Tensor | None:
        try:
            return decode(self.files[index], size=self.size, channels=self.channels)
        except Exception as error:  # Pillow's decoders raise nearly anything for a broken file
            self._broken[index] = True
            warnings.warn(
                f"{self.files[index]} cannot be read ({type(error).__name__}: {error}); the next file takes its place",
                stacklevel=3,
            )
            return None
