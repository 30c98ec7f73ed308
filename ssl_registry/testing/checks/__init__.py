"""The checks, a file for each subject. Each function's docstring tells what, why, and what usually breaks it."""

from __future__ import annotations

import importlib
import pkgutil

from ssl_registry.errors import ConfigError, did_you_mean
from ssl_registry.testing.check import Check, registered

__all__ = ["all_checks", "find_checks"]


def all_checks() -> dict[str, Check]:
    """Return every check by name: the fast ones first, otherwise in the order of the files."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(registered().items(), key=lambda item: item[1].slow))


def find_checks(names: list[str]) -> list[Check]:
    """Return the checks of these names.

    Raises:
        ConfigError: for a name that no check has, with the nearest one.
    """
    known = all_checks()
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"there is no check {unknown[0]!r}.{did_you_mean(unknown[0], known)} Checks: {', '.join(known)}"
        )
    return [known[name] for name in names]
