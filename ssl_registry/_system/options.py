"""Models of options: what pydantic finds wrong becomes one line that a user can act on."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ssl_registry.errors import ConfigError, did_you_mean

__all__ = ["allowed_values", "parse_options", "takes_options"]

OptionsT = TypeVar("OptionsT", bound=BaseModel)
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


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
    signs = {
        "gt": ">",
        "ge": ">=",
        "lt": "<",
        "le": "<=",
        "min_length": "length >=",
        "max_length": "length <=",
    }
    bounds = [
        f" {sign} {bound}"
        for constraint in field.metadata
        for attribute, sign in signs.items()
        if (bound := getattr(constraint, attribute, None)) is not None
    ]
    types = _types(field.annotation)
    plain = " | ".join(_type_name(one) for one in types if one is not NoneType)
    return plain + "".join(bounds) + " | None" * (NoneType in types)


def _types(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, or the type alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if annotation is Path:
        return "path"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(annotation.__members__)
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return re.sub(r"\b(typing|builtins)\.", "", str(annotation))


def takes_options(model: type[BaseModel]) -> Callable[[FunctionT], FunctionT]:
    """Show the fields of a model in the signature and docstring of a function that takes them as ``**keywords``.

    The function parses them by `parse_options`; `help`, notebooks and editors that look at the running function then
    show names, types, defaults and descriptions, which the model alone declares.

    Example:
        >>> from pydantic import Field
        >>> class Size(BaseModel):
        ...     width: int = Field(8, description="In pixels.")
        >>> @takes_options(Size)
        ... def draw(name, **size): ...
        >>> inspect.signature(draw)
        <Signature (name, *, width: int = 8)>
    """

    def show(function: FunctionT) -> FunctionT:
        signature = inspect.signature(function)
        own = [parameter for parameter in signature.parameters.values() if parameter.kind != parameter.VAR_KEYWORD]
        (keywords,) = signature.parameters.keys() - {parameter.name for parameter in own}
        fields = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.get_default(call_default_factory=True),
                annotation=field.annotation,
            )
            for name, field in model.model_fields.items()
        ]
        function.__signature__ = signature.replace(parameters=[*own, *fields])  # type: ignore[attr-defined]
        lines = [f"{name}: {field.description}" for name, field in model.model_fields.items()]
        entry = re.compile(rf"^( *)\*\*{keywords}: .*\n(?:\1 +.*\n)*", re.MULTILINE)
        function.__doc__ = entry.sub(
            lambda found: found[0] + "".join(f"{found[1]}    {line}\n" for line in lines), function.__doc__ or ""
        )
        return function

    return show
