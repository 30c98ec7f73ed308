"""Changes to a view policy by name, as a person writes them in Python, YAML or on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ssl_registry.errors import ConfigError, did_you_mean
from ssl_registry.views.policy import ViewPolicy
from ssl_registry.views.specs import View

__all__ = ["changed"]


def changed(policy: ViewPolicy, changes: Mapping[str, Any]) -> ViewPolicy:
    """Return the policy with other values for some fields of its views.

    Args:
        policy: a method's.
        changes: ``{field: value}`` for every view, and ``{number: {field: value}}`` for one, counted from 0 as they are
            drawn, copies one by one; a value for one view wins over a value for all.

    Raises:
        ConfigError: if there is no such field or view, or a value is out of range.

    Example:
        >>> from ssl_registry.views import ImageView
        >>> policy = changed(ViewPolicy(views=(ImageView(blur=0.5, copies=2),)), {"flip": 0.5, "1": {"blur": 0.1}})
        >>> [(view.flip, view.blur) for view in policy.views]
        [(0.5, 0.5), (0.5, 0.1)]
    """
    of_all = {str(key): value for key, value in changes.items() if not str(key).isdecimal()}
    of_one = {int(key): value for key, value in changes.items() if str(key).isdecimal()}
    views: list[View] = list(policy.views)
    if of_one:
        views = [view.model_copy(update={"copies": 1}) for _, view in policy.numbered()]
    for number, value in of_one.items():
        if number >= len(views):
            raise ConfigError(f"there is no view {number}; this method draws {len(views)}, counted from 0")
        if not isinstance(value, Mapping):
            raise ConfigError(f"views.{number}={value!r} must be fields of that view: views.{number}.FIELD=...")
    done = [_changed_view(view, {**of_all, **of_one.get(number, {})}) for number, view in enumerate(views)]
    return policy.model_copy(update={"views": tuple(done)})


def _changed_view(view: View, changes: Mapping[str, Any]) -> View:
    known = [name for name in type(view).model_fields if name not in ("modality", "copies")]
    for name in changes:
        if name not in known:
            raise ConfigError(
                f"a view of kind {view.modality!r} has no field {name!r}.{did_you_mean(name, known)} "
                f"It has: {', '.join(known)}"
            )
    try:
        return type(view).model_validate({**view.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"views{f'.{where}' if where else ''}={first['input']!r}: {first['msg']}") from error
