"""Plain values out of files that anyone may have written: a bounded tree, with nothing in it but values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

__all__ = ["first_problem", "is_plain", "plain"]

# Far beyond any configuration of this project (the longest record has about 300 values), and little to walk through.
MOST_VALUES = 20_000
MOST_CHARACTERS = 1_000_000
DEEPEST = 32


def plain(value: Any) -> Any:
    """Return a copy of a value of None, bool, int, float, str, lists, tuples, and mappings by strings or numbers.

    A file's value may refer to one part many times (an alias of YAML, a memo of a pickle), and stand for a tree that no
    memory holds. The copy has no part twice, and a limit of size.

    Raises:
        ValueError: if there is anything else in it, or too much.

    Example:
        >>> plain({"depths": (2, 2), "act": None})
        {'depths': (2, 2), 'act': None}
        >>> plain([print])
        Traceback (most recent call last):
        ValueError: it holds a builtin_function_or_method, which is no plain value
    """
    return _Copy().of(value, 0)


def is_plain(value: Any) -> bool:
    """Tell whether `plain` takes a value."""
    try:
        plain(value)
    except ValueError:
        return False
    return True


def first_problem(error: ValidationError) -> str:
    """Return the first of pydantic's findings in a line: where, and what is wrong there."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "it"
    return f"{where[:100]}: {first['msg'].removeprefix('Value error, ')[:300]}"


class _Copy:
    """Counts what it copies."""

    def __init__(self) -> None:
        self.values = self.characters = 0

    def of(self, value: Any, depth: int) -> Any:
        self.values += 1
        if isinstance(value, str):
            self.characters += len(value)
        if self.values > MOST_VALUES or self.characters > MOST_CHARACTERS or depth > DEEPEST:
            raise ValueError("it holds more values than any configuration has")
        # Exact types: what a subclass does when it is compared or written is its own affair.
        if value is None or type(value) in (bool, str, float):
            return value
        if type(value) is int:
            if value.bit_length() > 64:
                raise ValueError("it holds a whole number of more than 64 bits")
            return value
        if type(value) in (list, tuple):
            return type(value)(self.of(entry, depth + 1) for entry in value)
        if isinstance(value, Mapping):
            return {self._key(key): self.of(entry, depth + 1) for key, entry in value.items()}
        raise ValueError(f"it holds a {type(value).__name__}, which is no plain value")

    def _key(self, key: Any) -> Any:
        if type(key) not in (str, int):
            raise ValueError(f"it names a value by a {type(key).__name__}")
        return self.of(key, 0)
