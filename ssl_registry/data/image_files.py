"""`ImageFiles`: image files, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssl_registry.data.encoded import EncodedImages
from ssl_registry.data.pixels import Pixels

__all__ = ["ImageFiles"]


class ImageFiles(EncodedImages):
    """Image files as a data set.

    Args:
        files: their paths.
        labels, size, pixels: see `EncodedImages`.
    """

    def __init__(self, files: Sequence[Path], labels: Sequence[int] | None, *, size: int, pixels: Pixels) -> None:
        super().__init__(len(files), labels, size=size, pixels=pixels)
        self.files = list(files)

    def encoded(self, index: int) -> bytes:
        """Read a file."""
        return self.files[index].read_bytes()

    def name(self, index: int) -> str:
        """Return its path."""
        return str(self.files[index])

    def stamp(self, index: int) -> tuple[int, int]:
        """Return its size and time."""
        try:
            found = self.files[index].stat()
        except OSError:
            return (0, 0)
        return found.st_size, found.st_mtime_ns
