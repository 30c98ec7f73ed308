"""The conformance kit: run it on a method, and trust the method if it passes.

    from ssl_registry.testing import check_method, method_checks

    check_method("my-method")  # raises ConformanceError with a table of what is wrong

    @pytest.mark.parametrize("check", method_checks("my-method"))
    def test_conformance(check):
        check()

What lives where:

- `runner`: `check_method`, `run_checks`, `method_checks`: which checks run, and what becomes of their results.
- `check`: what a check is. `checks`: the checks, a file for each subject; every one tells in its docstring why it
  exists and what usually breaks it.
- `subject`: `Subject`, the method under test, as a check sees it: models, data and short runs.
- `fixtures`: real digits as images, signals and tables, and a tiny backbone for each.
- `processes`: a function in two processes at once. `remote`: a subject in them.
- `pytest_plugin`: the fixtures that every pytest run has where ssl-registry is installed.

Importing this package imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Check": "check",
    "CheckFailure": "check",
    "CheckResult": "runner",
    "ConformanceError": "runner",
    "NotApplicable": "check",
    "Subject": "subject",
    "all_checks": "checks",
    "check_method": "runner",
    "digits": "fixtures",
    "method_checks": "runner",
    "run_checks": "runner",
    "tiny_backbone": "fixtures",
}

__all__ = [
    "Check",
    "CheckFailure",
    "CheckResult",
    "ConformanceError",
    "NotApplicable",
    "Subject",
    "all_checks",
    "check_method",
    "digits",
    "method_checks",
    "run_checks",
    "tiny_backbone",
]

if TYPE_CHECKING:
    from ssl_registry.testing.check import Check, CheckFailure, NotApplicable
    from ssl_registry.testing.checks import all_checks
    from ssl_registry.testing.fixtures import digits, tiny_backbone
    from ssl_registry.testing.runner import CheckResult, ConformanceError, check_method, method_checks, run_checks
    from ssl_registry.testing.subject import Subject


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"ssl_registry.testing.{_HOME[name]}"), name)
    return value
