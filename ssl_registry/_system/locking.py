"""One writer a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ssl_registry.errors import ConfigError

__all__ = ["locked"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, for this process alone while the block runs.

    The lock is the kernel's, on the file ``.lock``: it ends with the process, however that ends. Without such locks
    (Windows, some network file systems) nothing is held.

    Raises:
        ConfigError: if another process holds it, or it cannot be written.

    Example:
        >>> with locked(getfixture("tmp_path") / "run"):
        ...     pass
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise ConfigError(f"cannot write in {folder}: {error.strerror}; give another --out") from error
    with file:
        if not _take(file):
            raise ConfigError(
                f"another process is writing the run {folder}; wait until it is done, or give another --out"
            )
        yield


def _take(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
