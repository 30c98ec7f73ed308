"""Small files of text that anyone may have written: read up to a limit, and never waited for."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from ssl_registry.errors import ConfigError, SSLRegistryError

__all__ = ["read_json", "read_text"]

# Of a configuration or results; those of this project have a few thousand bytes.
MOST_BYTES = 2**20


def read_text(
    path: str | Path, *, most: int = MOST_BYTES, error: type[SSLRegistryError] = ConfigError, newline: str | None = None
) -> str:
    """Read a file of text in UTF-8.

    Args:
        path: of a regular file.
        most: bytes that it may have.
        error: what is raised.
        newline: as `open` takes it.

    Raises:
        SSLRegistryError: ``error``, if it cannot be read, is larger, is not UTF-8, or is no regular file: a pipe among
            a run's files would keep its reader waiting for ever.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, encoding="utf-8", newline=newline) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise error(f"{path} is no regular file")
            if status.st_size > most:
                raise error(f"{path} has {status.st_size:,} bytes; expected at most {most:,}")
            return file.read()
    except (OSError, ValueError) as problem:  # ValueError: not UTF-8, or a name with a zero in it
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{path} cannot be read: {reason}") from None


def read_json(path: str | Path, *, most: int = MOST_BYTES, error: type[SSLRegistryError] = ConfigError) -> Any:
    """Read a file of JSON.

    Args:
        path, most, error: see `read_text`.

    Raises:
        SSLRegistryError: ``error``, as `read_text`, and if it is no JSON.
    """
    text = read_text(path, most=most, error=error)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        reason = "it is nested too deeply" if isinstance(problem, RecursionError) else problem
        raise error(f"{path} is damaged: {reason}") from None
