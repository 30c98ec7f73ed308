"""Python files that a user names (methods to register, backbones of his own), and files written whole."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from ssl_registry.atomic import replacing
from ssl_registry.errors import SSLRegistryError

__all__ = ["load_object", "load_python_file", "whole_file", "whole_folder", "write_beside"]


def load_python_file(path: str | Path) -> ModuleType:
    """Run a Python file once in this process and return its module.

    Raises:
        SSLRegistryError: if there is no such file, or running it raises.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise SSLRegistryError(f"there is no Python file {path}")
    # The name holds for pickling and for workers; a second request returns the same module.
    name = f"ssl_registry_file_{file.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(file):
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SSLRegistryError(f"{path} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        del sys.modules[name]
        raise SSLRegistryError(f"{path} fails to run: {type(error).__name__}: {error}") from error
    return module


def load_object(reference: str) -> Any:
    """Return what ``path/to/file.py:name`` names.

    Raises:
        SSLRegistryError: if the file or the name is missing.
    """
    path, _, name = reference.rpartition(":")
    module = load_python_file(path)
    if not hasattr(module, name):
        public = sorted(key for key in vars(module) if not key.startswith("_"))
        raise SSLRegistryError(f"{path} has no {name!r}; it has: {', '.join(public)}")
    return getattr(module, name)


def write_beside(path: Path, text: str) -> None:
    """Write a file beside its place, then rename it: a reader never sees half of it, nor do two writers mix."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file as `ssl_registry.atomic.replacing` does; what hinders it is one line for a person.

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
