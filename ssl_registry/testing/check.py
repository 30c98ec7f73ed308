"""What a check is: a small named function that raises `CheckFailure`, and says why it exists."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl_registry.testing.subject import Subject

__all__ = ["CREATE_OPTIONS", "Check", "CheckFailure", "NotApplicable", "check", "registered"]

# Arguments of `Registry.create` that a subject takes beside the method's options.
CREATE_OPTIONS = ("backbone", "backbone_kwargs", "image_size", "in_chans", "low_resolution", "num_samples", "pooling")

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


def registered() -> dict[str, Check]:
    """Return the checks that were registered so far, in that order."""
    return dict(_CHECKS)
