"""One process at a time: locks of the kernel on files, through the package filelock.

A lock ends with the process that took it, however that ends. Processes that it starts, such as a loader's workers, do
not inherit it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ssl_registry.errors import ConfigError

__all__ = ["lock_file", "lock_folder"]

log = logging.getLogger(__name__)

# What file systems answer that have no locks: some network file systems, and Lustre without the mount option "flock".
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def lock_file(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock on a file, made if need be, while the block runs.

    Where the file system has no locks, a warning says so and the block runs without one.

    Args:
        path: of the lock; the file stays when it is released.
        wait: for another process that holds it.

    Raises:
        filelock.Timeout: if another process holds it and ``wait`` is False.
        OSError: if the file cannot be written.

    Example:
        >>> with lock_file(getfixture("tmp_path") / "cache.lock"):
        ...     pass
    """
    # A marker file would outlive a process that was killed on another host, so there is no soft lock instead.
    lock = FileLock(path, timeout=-1 if wait else 0, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning(
            "the file system of %s has no locks: nothing stops a second process from writing there at the same time; "
            "start one at a time, or choose a folder elsewhere",
            path.parent,
        )
        yield
        return
    try:
        yield
    finally:
        lock.release()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, for this process alone while the block runs, by its file ``.lock``.

    Raises:
        ConfigError: if another process holds it, or it cannot be written.

    Example:
        >>> with lock_folder(getfixture("tmp_path") / "run"):
        ...     pass
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock_file(folder / ".lock", wait=False))
        except Timeout:
            raise ConfigError(
                f"another process is writing the run {folder}; wait until it is done, or give another --out"
            ) from None
        except OSError as error:
            raise ConfigError(f"cannot write in {folder}: {error.strerror}; give another --out") from error
        yield
