"""Changes to views on the command line: ``--views.FIELD VALUE`` and ``--views.NUMBER.FIELD VALUE``."""

from __future__ import annotations

import json
from typing import Any

from ssl_registry.errors import ConfigError

__all__ = ["one_word_a_view", "take_changes"]

PREFIX = "--views."


def take_changes(argv: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Split a command line into all other words, and the changes as `ssl_registry.views.changes.changed` takes them.

    >>> take_changes(["byol", "--views.blur", "0", "--views.0.flip=1", "--seed", "1"])
    (['byol', '--seed', '1'], {'blur': 0, '0': {'flip': 1}})

    Raises:
        ConfigError: if a value is missing or cannot be read.
    """
    rest: list[str] = []
    changes: dict[str, Any] = {}
    words = iter(argv)
    for word in words:
        if not word.startswith(PREFIX):
            rest.append(word)
            continue
        path, equals, value = word.partition("=")
        if not equals:
            following = next(words, None)
            if following is None:
                raise ConfigError(f"{path} needs a value")
            value = following
        first, dot, field = path.removeprefix(PREFIX).partition(".")
        if not dot:
            changes[first] = _read(path, value)
        elif first.isdecimal():
            changes.setdefault(first, {})[field] = _read(path, value)
        else:
            raise ConfigError(f"{path}: fields of one view are {PREFIX}NUMBER.FIELD, of all {PREFIX}FIELD")
    return rest, changes


def one_word_a_view(argv: list[str]) -> list[str]:
    """Bring all that is said of one view into one word; jsonargparse would keep the last of them.

    >>> one_word_a_view(["--views.0.blur", "0", "--seed", "1", "--views.0.flip=1"])
    ['--seed', '1', '--views.0={"blur": 0, "flip": 1}']
    """
    rest, changes = take_changes(argv)
    return rest + [f"{PREFIX}{name}={_written(value)}" for name, value in changes.items()]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read(path: str, value: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}={value!r} cannot be read as a value") from error
