"""Which checks run, and what becomes of their results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ssl_registry.errors import ConfigError, MethodNotFoundError
from ssl_registry.testing import (
    CheckFailure,
    ConformanceError,
    NotApplicable,
    all_checks,
    check_method,
    method_checks,
    run_checks,
)
from ssl_registry.testing.check import Check
from ssl_registry.testing.runner import run_check


def passes(subject):
    """Pass."""


def fails(subject):
    """Fail."""
    raise CheckFailure("it is\n   broken")


def raises(subject):
    """Raise what a method raises."""
    raise ZeroDivisionError("division by zero")


def does_not_apply(subject):
    """Have nothing to look at."""
    raise NotApplicable("it has no target")


@pytest.mark.parametrize(
    ("function", "expected", "status", "reason"),
    [
        (passes, None, "passed", ""),
        (passes, "it is slow", "unexpected", "it passes, although expected to fail (it is slow); take it off the list"),
        (fails, None, "failed", "it is broken"),
        (fails, "it is old", "expected", "it is old"),
        (raises, None, "failed", "ZeroDivisionError: division by zero"),
        (does_not_apply, None, "skipped", "it has no target"),
        (does_not_apply, "it is slow", "skipped", "it has no target"),
    ],
)
def test_results(function, expected, status, reason):
    """Each way a check can end, with and without an expected failure."""
    result = run_check(Check("x", function), None, expected)
    assert (result.status, result.reason) == (status, reason)
    assert result.is_good == (status not in ("failed", "unexpected"))


def test_every_check_says_why():
    """Why it exists and what usually breaks it, in each docstring; and a name that is one."""
    for name, check in all_checks().items():
        assert name == check.name == check.run.__name__
        assert check.summary.endswith("."), name
        assert "\n\nWhy" in check.documentation, name
        assert "sual cause" in check.documentation, name


def test_documentation_names_every_check():
    """With its mark if it is a slow one, and no other."""
    text = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text().partition("\n## The checks\n")[2]
    rows = re.findall(r"^\| `(\w+)`( \(--all\))? \|", text, flags=re.MULTILINE)
    assert dict(rows) == {name: " (--all)" if check.slow else "" for name, check in all_checks().items()}


def test_documentation_runs():
    """Its Python blocks, as they stand."""
    text = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(block, scope)
    assert callable(scope["test_conformance"])


def test_slow_checks_are_last_and_left_out():
    """`slow=True` adds them."""
    flags = [check.slow for check in all_checks().values()]
    assert flags == sorted(flags)
    assert 0 < len(method_checks("byol")) < len(method_checks("byol", slow=True)) == len(flags)


def test_passing_method_gives_its_results():
    """In the order of the checks."""
    results = check_method("byol", only=["documentation", "config_round_trip"])
    assert [(result.check, result.status) for result in results] == [
        ("documentation", "passed"),
        ("config_round_trip", "passed"),
    ]


def test_failing_method_raises_with_all_faults():
    """An unexpected pass is one of them."""
    with pytest.raises(ConformanceError, match="simclr does not pass 1 of 1 checks:\n  documentation: it passes"):
        check_method("simclr", only=["documentation"], expected_failures={"documentation": "it has none"})


def test_unknown_check():
    """The nearest name is told, for `only` and for expected failures."""
    with pytest.raises(ConfigError, match=r"there is no check 'documention'\. Did you mean 'documentation'"):
        check_method("byol", only=["documention"])
    with pytest.raises(ConfigError, match="there is no check 'x'"):
        method_checks("byol", expected_failures={"x": "y"})


def test_expected_failure_needs_a_reason():
    """A blank one is refused."""
    with pytest.raises(CheckFailure, match="documentation has no reason"):
        list(run_checks("byol", expected_failures={"documentation": " "}))


def test_unknown_method():
    """It is the registry's error; for pytest it comes when the first test runs."""
    with pytest.raises(MethodNotFoundError, match="no method 'byoll'"):
        check_method("byoll")
    (case,) = method_checks("byoll", only=["documentation"])
    with pytest.raises(MethodNotFoundError):
        case.values[0]()
