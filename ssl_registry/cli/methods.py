"""The method of a command line: its class, or what was meant where the word is no method."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ssl_registry._registry import registry
from ssl_registry.errors import ConfigError, MethodNotFoundError

__all__ = ["find_method"]

# That of the first examples, where it is installed: it takes images, signals and tables.
EXAMPLE = "simclr"


def find_method(command: str, method: str, rest: list[str]) -> type[Any]:
    """Return a method's class.

    Args:
        command: such as ``train``, for the message.
        method: the first word behind it.
        rest: the words behind that.

    Raises:
        ConfigError: if the word is an option, or data, with the line that was meant.
        MethodNotFoundError, PluginError, ContractError: as `Registry.method_class`.
    """
    if method.startswith("-"):
        raise ConfigError(f"the method comes first: ssl-registry {command} METHOD {shlex.join([method, *rest])}")
    try:
        return registry.method_class(method)
    except MethodNotFoundError as error:
        if not _is_data(method):
            raise
        names = [info.name for info in registry.methods()]
        example = EXAMPLE if EXAMPLE in names or not names else names[0]
        line = shlex.join(["ssl-registry", command, example, "--data", method, *rest])
        raise ConfigError(
            f"{method} is data, and the method comes first: {line}; ssl-registry list shows the methods"
        ) from error


def _is_data(word: str) -> bool:
    """Whether a word that is no method looks like a source of samples: no method's name has a slash or a suffix.

    >>> _is_data("photos/"), _is_data("x.csv"), _is_data("digits"), _is_data("simclrr")
    (True, True, True, False)
    """
    return word == "digits" or "/" in word or "." in word or Path(word).exists()
