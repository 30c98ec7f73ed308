"""`ImageFiles`: image files, read when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.images.encoded import EncodedImages
from ssl_registry.data.images.pixels import Pixels

__all__ = ["ImageFiles"]


class ImageFiles(EncodedImages):
    """Image files as a data set.

    Args:
        files: their paths.
        labels, size, pixels: see `EncodedImages`.
        rows: of each, its place among all files, where some of them were held out; None: as they stand here.
    """

    def __init__(
        self,
        files: Sequence[Path | str],
        labels: Sequence[int] | None,
        *,
        size: int,
        pixels: Pixels,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(len(files), labels, size=size, pixels=pixels)
        self._rows = rows
        # One array, and no million Python objects: each of those has a count of references, and workers that only look
        # at them would copy the memory of all of them, page by page.
        self._paths = np.array([os.fsencode(path) for path in files])

    @property
    def files(self) -> list[Path]:
        """Their paths."""
        return [self._path(index) for index in range(len(self))]

    def _path(self, index: int) -> Path:
        return Path(os.fsdecode(self._paths[index]))

    def encoded(self, index: int) -> bytes:
        """Read a file."""
        return self._path(index).read_bytes()

    def name(self, index: int) -> str:
        """Return its path."""
        return str(self._path(index))

    def row(self, index: int) -> int | None:
        """Return its place among the files of both parts."""
        return None if self._rows is None else int(self._rows[index])

    def stamp(self, index: int) -> tuple[int, int]:
        """Return its size and time."""
        try:
            found = os.stat(self._paths[index])  # the bytes as they are: through a `Path` it takes three times as long
        except OSError:
            return (0, 0)
        return found.st_size, found.st_mtime_ns
