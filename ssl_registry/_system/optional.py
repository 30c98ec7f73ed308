"""Libraries that one feature alone needs: imported when it is used, and asked for in words where they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from ssl_registry.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, extra: str, what: str) -> ModuleType:
    """Import a library that is not always installed.

    Args:
        module: what is imported.
        extra: the extra of this package that brings it.
        what: what needs it, to begin the message with.

    Raises:
        MissingExtraError: with the command that installs it.

    Example:
        >>> require("no_such_library", "none", "an example")
        Traceback (most recent call last):
        ssl_registry.errors.MissingExtraError: an example needs no_such_library; run: pip install 'ssl-registry[none]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # it is there, and broken: its own message tells more
        raise MissingExtraError(f"{what} needs {module}; run: pip install 'ssl-registry[{extra}]'") from missing
