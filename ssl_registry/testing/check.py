"""What a check is: a small named function that raises `CheckFailure`, and says why it exists."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssl_registry.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from ssl_registry.testing.subject import Subject

__all__ = ["Check", "CheckFailure", "NotApplicable", "all_checks", "check"]

_CHECKS: dict[str, Check] = {}


class CheckFailure(AssertionError):
    """What a check found wrong, and what usually mends it, in one line."""


class NotApplicable(Exception):
    """A check has nothing to look at in this method, for the reason given."""


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: by which expected failures and ``--only`` know it.
        run: looks at a subject; returns nothing, or raises `CheckFailure` or `NotApplicable`.
        slow: takes a minute rather than a second; only run when all checks are asked for.
    """

    name: str
    run: Callable[[Subject], None]
    slow: bool = False

    @property
    def summary(self) -> str:
        """What it checks, in one line."""
        return self.documentation.partition("\n")[0]

    @property
    def documentation(self) -> str:
        """What it checks, why it exists and what usually breaks it."""
        return inspect.getdoc(self.run) or ""


def check(*, slow: bool = False) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Register a function as a check, under its own name."""

    def register(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        _CHECKS[run.__name__] = Check(run.__name__, run, slow)
        return run

    return register


def all_checks() -> dict[str, Check]:
    """Return every check by name: the fast ones first, otherwise in the order of the files."""
    from ssl_registry.testing import checks

    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{module.name}")
    return dict(sorted(_CHECKS.items(), key=lambda item: item[1].slow))


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
