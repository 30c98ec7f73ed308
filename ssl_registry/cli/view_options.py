"""Changes to views on the command line: ``--views.FIELD VALUE`` and ``--views.NUMBER.FIELD VALUE``."""

from __future__ import annotations

import json
from typing import Any

from ssl_registry.errors import ConfigError

__all__ = ["one_word_a_view"]

PREFIX = "--views."


def one_word_a_view(argv: list[str]) -> list[str]:
    """Bring all ``--views.NUMBER.FIELD VALUE`` of one view together; jsonargparse would keep the last of them.

    >>> one_word_a_view(["--seed", "1", "--views.0.blur", "0", "--views.0.flip=1"])
    ['--seed', '1', '--views.0={"blur": 0, "flip": 1}']
    """
    import yaml

    rest: list[str] = []
    views: dict[str, dict[str, Any]] = {}
    words = iter(argv)
    for word in words:
        path, equals, value = word.partition("=")
        number, dot, field = path.removeprefix(PREFIX).partition(".")
        if not (path.startswith(PREFIX) and dot and number.isdecimal()):
            rest.append(word)
            continue
        if not equals:
            following = next(words, None)
            if following is None:
                raise ConfigError(f"{path} needs a value")
            value = following
        try:
            views.setdefault(number, {})[field] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}={value!r} cannot be read as a value") from error
    return rest + [f"{PREFIX}{number}={json.dumps(fields)}" for number, fields in views.items()]
