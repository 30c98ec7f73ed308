"""Models of options: what pydantic finds wrong becomes one line that a user can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ssl_registry.errors import ConfigError, did_you_mean

__all__ = ["allowed_values", "parse_options"]

OptionsT = TypeVar("OptionsT", bound=BaseModel)


def parse_options(cls: type[OptionsT], options: Mapping[str, Any], *, owner: str) -> OptionsT:
    """Build a model of options from what a user gave.

    Args:
        cls: a method's config class, or another model of options.
        options: what the user gave, by name.
        owner: the method's name, or what else the options are of, for messages.

    Raises:
        ConfigError: naming each wrong key, what it may be, and the nearest right key.
    """
    try:
        return cls(**options)
    except ValidationError as error:
        lines = [_explain(cls, finding, owner) for finding in error.errors()]
        raise ConfigError("; ".join(lines)) from None


def _explain(cls: type[BaseModel], finding: Mapping[str, Any], owner: str) -> str:
    """Put one of pydantic's findings into words that name the key and what is allowed."""
    location = finding["loc"]
    if not location:  # a validator over the whole model
        return f"{owner}: {finding['msg'].removeprefix('Value error, ')}"
    key = str(location[0])
    if finding["type"] == "extra_forbidden":
        return (
            f"{owner} has no option {key!r}.{did_you_mean(key, cls.model_fields)} "
            f"It takes: {', '.join(sorted(cls.model_fields))}"
        )
    dotted = ".".join(str(part) for part in location)
    allowed = allowed_values(cls, key)
    message = finding["msg"].removeprefix("Value error, ")
    message = re.sub("^Input should", "it should", message)
    return f"{owner}: {dotted}={finding['input']!r} is not accepted, {message} (allowed: {allowed})"


def allowed_values(cls: type[BaseModel], key: str) -> str:
    """Describe in words what a field takes.

    >>> from ssl_registry import MethodConfig
    >>> allowed_values(MethodConfig, "learning_rate")
    'float > 0'
    """
    field = cls.model_fields[key]
    words = _type_name(field.annotation)
    signs = {
        "gt": ">",
        "ge": ">=",
        "lt": "<",
        "le": "<=",
        "min_length": "length >=",
        "max_length": "length <=",
    }
    for constraint in field.metadata:
        for attribute, sign in signs.items():
            bound = getattr(constraint, attribute, None)
            if bound is not None:
                words += f" {sign} {bound}"
    return words


def _type_name(annotation: Any) -> str:
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    return re.sub(r"\b(typing|builtins)\.", "", text).replace("NoneType", "None")
