"""What a run writes down of its configuration: every option's value, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_registry._system.yaml_files import flatten

__all__ = ["origins_of_call"]


def origins_of_call(
    given: Mapping[str, Any], defaults: Mapping[str, Any], options: Mapping[str, Any], trainer: Mapping[str, Any]
) -> dict[str, str]:
    """Return ``argument`` for every option that a call from Python gave another value than the default.

    Args:
        given: the run's options.
        defaults: of these.
        options: the method's own, as they were given.
        trainer: arguments of Lightning's Trainer.

    Example:
        >>> origins_of_call({"seed": 1, "epochs": None}, {"seed": 0, "epochs": None}, {"momentum": 0.9}, {"devices": 2})
        {'seed': 'argument', 'momentum': 'argument', 'trainer.devices': 'argument'}
    """
    chosen = {name: value for name, value in given.items() if value != defaults[name]}
    lightnings = {"trainer": trainer} if trainer else {}
    return {name: "argument" for name, _ in flatten({**chosen, **options, **lightnings})}
