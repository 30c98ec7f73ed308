"""Types of options that jsonargparse does not know, or that it reads otherwise than the method's config does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, get_args

from jsonargparse.typing import register_type
from pydantic import TypeAdapter

__all__ = ["teach"]

# As pydantic reads and writes them, since a run's configuration is written by pydantic and read again by the parser;
# jsonargparse itself takes bytes for base64, and durations in one spelling alone.
for one in (bytes, date, datetime, Decimal, time, timedelta):
    adapter: TypeAdapter[Any] = TypeAdapter(one)
    register_type(
        one, partial(adapter.dump_python, mode="json"), adapter.validate_python, fail_already_registered=False
    )


def teach(annotation: Any) -> None:
    """Make the parser take members of an enumeration by name and by value, wherever they stand in a type.

    Args:
        annotation: an option's type.

    Example:
        >>> from enum import Enum
        >>> from jsonargparse import ArgumentParser
        >>> Mode = Enum("Mode", {"HARD": "hard", "TWO": 2})
        >>> teach(list[Mode] | None)
        >>> parser = ArgumentParser()
        >>> _ = parser.add_argument("--modes", type=list[Mode] | None)
        >>> parser.parse_args(["--modes", "[hard, TWO, 2]"]).modes
        [<Mode.HARD: 'hard'>, <Mode.TWO: 2>, <Mode.TWO: 2>]
    """
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        register_type(annotation, lambda member: member.value, _member_of(annotation), fail_already_registered=False)
    for part in get_args(annotation):
        teach(part)


def _member_of(cls: type[Enum]) -> Callable[[Any], Enum]:
    def find(word: Any) -> Enum:
        for member in cls:
            if word in (member, member.value) or str(word) in (member.name, str(member.value)):
                return member
        raise ValueError(f"it must be one of {', '.join(cls.__members__)}")

    return find
