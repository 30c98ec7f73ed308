"""Where the options of a run came from, for the record that the run keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_registry._system.yaml_files import flatten
from ssl_registry.run_options import RunOptions

__all__ = ["origins_of_call"]


def origins_of_call(run: RunOptions, options: Mapping[str, Any], trainer: Mapping[str, Any]) -> dict[str, str]:
    """Return ``argument`` for every option that a call from Python gave.

    Args:
        run: the run's options.
        options: the method's own.
        trainer: arguments of Lightning's Trainer.

    Example:
        >>> origins_of_call(RunOptions(seed=1), {"momentum": 0.9}, {"devices": 2})
        {'seed': 'argument', 'momentum': 'argument', 'trainer.devices': 'argument'}
    """
    given = {name: getattr(run, name) for name in RunOptions.model_fields if name in run.model_fields_set}
    lightnings = {"trainer": trainer} if trainer else {}
    return {name: "argument" for name, _ in flatten({**given, **options, **lightnings})}
