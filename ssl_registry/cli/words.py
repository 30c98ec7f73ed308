"""The words of a command line before they are parsed: one spelling of each option, one word for each view."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from typing import Any, cast

from ssl_registry.errors import ConfigError

__all__ = ["dashed", "normalized_words", "short_names", "take"]

VIEWS = "--views."
DROP, RANGE = "--drop_columns", "--value_range"


@cache
def short_names() -> dict[str, str]:
    """Return the short names of options about the data, by the fields that declare them, and what each stands for."""
    from ssl_registry.data.options import DataOptions  # and pydantic with it, which not every command needs

    return {
        flag: f"--{name}"
        for name, field in DataOptions.model_fields.items()
        if isinstance(field.json_schema_extra, dict)
        for flag in cast(list[str], field.json_schema_extra.get("flags", ()))
    }


def dashed(option: str) -> str:
    """Return an option as it is written on the command line.

    >>> dashed("batch_size"), dashed("backbone_kwargs.drop_rate"), dashed("trainer.max_steps")
    ('--batch-size', '--backbone-kwargs.drop_rate', '--trainer.max_steps')
    """
    first, dot, rest = option.partition(".")
    return f"--{first.replace('_', '-')}{dot}{rest}"


def normalized_words(argv: list[str], *, optional: Collection[str] = ()) -> list[str]:
    """Return the words as the parser takes them: names with underscores, one word for each view, null for None.

    Args:
        argv: the words.
        optional: options that can be None.

    Example:
        >>> normalized_words(["--batch-size", "8", "--schedule", "None"], optional={"schedule"})
        ['--batch_size', '8', '--schedule', 'null']

    Raises:
        ConfigError: if a value is missing or cannot be read.
    """
    words: list[str] = []
    for word in argv:
        flag, equals, value = word.partition("=")
        if word.startswith("--"):
            flag = "--" + flag[2:].replace("-", "_")
            flag = short_names().get(flag, flag)
            if equals and not value:
                raise ConfigError(f"{dashed(flag[2:])} needs a value")  # a shell's variable that is not set
            value = "null" if value == "None" and flag[2:] in optional else value
            words.append(flag + equals + value)
        elif not word and words and words[-1].startswith("--"):
            raise ConfigError(f"{dashed(words[-1][2:])} needs a value")
        elif word == "None" and words and words[-1].removeprefix("--") in optional:
            words.append("null")
        else:
            words.append(word)
    return _bracketed_range(_one_word_a_list(_one_word_a_view(words)))


def take(words: list[str], flag: str) -> tuple[list[str], list[str]]:
    """Split a command line into the values of ``flag`` and all other words.

    >>> take(["--out", "run", "--seed", "1"], "--out")
    (['run'], ['--seed', '1'])

    Raises:
        ConfigError: if a value is missing.
    """
    values, rest = [], []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name != flag:
            rest.append(word)
            continue
        value = value if equals else next(left, "")
        if not value:
            raise ConfigError(f"{dashed(flag[2:])} needs a value")
        values.append(value)
    return values, rest


def _one_word_a_view(words: list[str]) -> list[str]:
    """Bring all that is said of one view into one word; jsonargparse would keep the last of them.

    >>> _one_word_a_view(["--views.0.blur", "0", "--seed", "1", "--views.0.flip=1"])
    ['--seed', '1', '--views.0={"blur": 0, "flip": 1}']
    """
    rest: list[str] = []
    changes: dict[str, Any] = {}
    left = iter(words)
    for word in left:
        if not word.startswith(VIEWS):
            rest.append(word)
            continue
        path, equals, value = word.partition("=")
        if not equals:
            following = next(left, None)
            if following is None:
                raise ConfigError(f"{path} needs a value")
            value = following
        first, dot, field = path.removeprefix(VIEWS).partition(".")
        if not dot:
            changes[first] = _read(path, value)
        elif first.isdecimal():
            changes.setdefault(first, {})[field] = _read(path, value)
        else:
            raise ConfigError(f"{path}: fields of one view are {VIEWS}NUMBER.FIELD, of all {VIEWS}FIELD")
    return rest + [
        f"{VIEWS}{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in changes.items()
    ]


def _one_word_a_list(words: list[str]) -> list[str]:
    """Bring all columns to drop into one word, however often they are given.

    >>> _one_word_a_list(["--drop_columns", "a,b", "--seed", "1", "--drop_columns=c"])
    ['--seed', '1', '--drop_columns=["a", "b", "c"]']
    """
    values, rest = take(words, DROP)
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    return [*rest, f"{DROP}={json.dumps(names)}"] if names else words


def _bracketed_range(words: list[str]) -> list[str]:
    """Write LOW,HIGH as the parser takes two numbers; the last one given counts.

    >>> _bracketed_range(["--value_range", "-5,5", "--seed", "1"])
    ['--seed', '1', '--value_range=[-5,5]']
    """
    values, rest = take(words, RANGE)
    if not values or "," not in values[-1]:
        return words
    return [*rest, f"{RANGE}=[{values[-1].strip('[]() ')}]"]


def _read(path: str, value: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}={value!r} cannot be read as a value") from error
