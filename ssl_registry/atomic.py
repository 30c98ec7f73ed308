"""Writing a file whole or not at all: beside its place, then renamed into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of ``path`` when the block ends, and only if it ends well.

    Whenever the process is killed or the disk is full, ``path`` is what it was before or what it is to be. The new
    content lies on the disk before it gets the name: after a loss of power too there is no name without content.

    Raises:
        OSError: if it cannot be written; ``path`` is untouched, and nothing is left beside it.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with replacing(folder / "x.txt") as file:
        ...     _ = file.write(b"whole")
        >>> [(file.name, file.read_text()) for file in folder.iterdir()]
        [('x.txt', 'whole')]
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename is atomic within a file system alone; one for each process that writes.
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
