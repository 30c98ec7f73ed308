"""One writer a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from ssl_registry.errors import ConfigError

__all__ = ["hold", "locked", "releasing"]

P = ParamSpec("P")
T = TypeVar("T")
_held: ContextVar[ExitStack] = ContextVar("held")


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


def releasing(function: Callable[P, T]) -> Callable[P, T]:
    """Let a long function `hold` things, which are released when it ends, however that is."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with ExitStack() as stack:
            before = _held.set(stack)
            try:
                return function(*args, **kwargs)
            finally:
                _held.reset(before)

    return call


def hold(manager: AbstractContextManager[None]) -> None:
    """Enter a context that lasts until the `releasing` function that is running ends."""
    _held.get().enter_context(manager)
