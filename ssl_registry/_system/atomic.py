"""Writing a file whole or not at all: beside its place, then renamed into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ssl_registry.errors import ConfigError, SSLRegistryError

__all__ = ["given_path", "replacing", "whole_file", "whole_folder", "write_beside"]


def given_path(path: str | Path, option: str = "--out") -> Path:
    """Return the path that a user gave for what is to be written.

    Raises:
        ConfigError: if it is empty, as of a shell's variable that is not set: as a path it would be the current folder.

    Example:
        >>> given_path("")
        Traceback (most recent call last):
        ssl_registry.errors.ConfigError: --out is empty; give a path, such as ./ for the current folder
    """
    if not str(path).strip():
        raise ConfigError(f"{option} is empty; give a path, such as ./ for the current folder")
    return Path(path)


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
    # A link is followed: it stays, and what it points to is replaced.
    path = path.resolve() if path.is_symlink() else path
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


def write_beside(path: Path, text: str) -> None:
    """Write a file beside its place, then rename it: a reader never sees half of it, nor do two writers mix."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file as `replacing` does; what hinders it is one line for a person.

    Raises:
        SSLRegistryError: if it cannot be written, because the disk is full for instance; what was there stays.
    """
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise _not_written(path, error) from error


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a folder beside ``path`` to fill; it takes the place of ``path`` when the block ends, as `whole_file`."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    old = path.with_name(f"{path.name}.{os.getpid()}.old")
    try:
        beside.mkdir(parents=True)
        yield beside
        if path.exists():
            path.replace(old)
        beside.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(old, ignore_errors=True)


def _not_written(path: Path, error: OSError) -> SSLRegistryError:
    return SSLRegistryError(f"{path} cannot be written: {error.strerror or error}; nothing was changed")
