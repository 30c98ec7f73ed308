"""Python files that a user names: methods to register, backbones of their own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ssl_registry.errors import SSLRegistryError

__all__ = ["load_object", "load_python_file"]


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
