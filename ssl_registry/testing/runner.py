"""Running checks on a method, and what becomes of their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry.contract.declares import declares_of
from ssl_registry.testing.check import Check, CheckFailure, NotApplicable
from ssl_registry.testing.checks import all_checks, find_checks

if TYPE_CHECKING:
    from ssl_registry.testing.subject import Subject

__all__ = ["CheckResult", "ConformanceError", "check_method", "method_checks", "run_checks"]


class ConformanceError(AssertionError):
    """A method fails checks, or passes some that were expected to fail; the message lists them."""


@dataclass(frozen=True)
class CheckResult:
    """What came of one check.

    Args:
        check: its name.
        status: ``passed``; ``failed``; ``expected``, a failure that was; ``unexpected``, a pass where a failure
            was expected; ``skipped``, as it does not apply.
        reason: what is wrong, why it was expected or why it does not apply; empty for a pass.
        seconds: it took.
    """

    check: str
    status: str
    reason: str
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether it is as it should be."""
        return self.status not in ("failed", "unexpected")


def check_method(
    name: str,
    *,
    expected_failures: Mapping[str, str] | None = None,
    slow: bool = False,
    only: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    registry: Registry = default_registry,
) -> list[CheckResult]:
    """Check a method against the contract and against the mistakes that toolboxes shipped.

    Args:
        name: of the method, installed or registered.
        expected_failures: check names with the reason why the method fails them, beside those that it declares.
        slow: run those too that take a minute: several processes, torch.compile.
        only: names of checks, instead of all.
        options: of the method, such as small widths, for every model that is made.
        registry: where it is looked up.

    Returns:
        A result for each check.

    Raises:
        ConformanceError: listing each failure that was not expected, and each expected one that did not come.
        SSLRegistryError: if there is no such method, or its class breaks the contract.

    Example:
        >>> [result.status for result in check_method("byol", only=["documentation"])]
        ['passed']
    """
    results = list(
        run_checks(name, expected_failures=expected_failures, slow=slow, only=only, options=options, registry=registry)
    )
    if bad := [result for result in results if not result.is_good]:
        lines = "".join(f"\n  {result.check}: {result.reason}" for result in bad)
        raise ConformanceError(f"{name} does not pass {len(bad)} of {len(results)} checks:{lines}")
    return results


def run_checks(
    name: str,
    *,
    expected_failures: Mapping[str, str] | None = None,
    slow: bool = False,
    only: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    registry: Registry = default_registry,
) -> Iterator[CheckResult]:
    """Yield each check's result as it comes; the arguments are `check_method`'s."""
    expected, chosen = _chosen(expected_failures, slow, only)
    subject = _subject(name, registry, options)
    declared = declares_of(subject.method_class).fails
    find_checks(list(declared))
    for check in chosen:
        yield run_check(check, subject, {**declared, **expected}.get(check.name))


def run_check(check: Check, subject: Subject, expected: str | None = None) -> CheckResult:
    """Run one check.

    Args:
        check: what to run.
        subject: on what.
        expected: why it will fail; None if it should pass.
    """
    started = time.perf_counter()
    status, reason = "passed", ""
    try:
        check.run(subject)
    except NotApplicable as error:
        status, reason = "skipped", str(error)
    except Exception as error:  # a method may raise anything: that is a failure of the check
        status, reason = "failed", _told(error)
    if expected is not None:
        if status == "failed":
            status, reason = "expected", expected
        elif status == "passed":
            status, reason = "unexpected", f"it passes, although expected to fail ({expected}); take it off the list"
    return CheckResult(check.name, status, reason, time.perf_counter() - started)


def method_checks(
    name: str,
    *,
    expected_failures: Mapping[str, str] | None = None,
    slow: bool = False,
    only: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    registry: Registry = default_registry,
) -> list[Any]:
    """Return the checks of a method for ``pytest.mark.parametrize``, each a function without arguments.

        @pytest.mark.parametrize("check", method_checks("byol"))
        def test_conformance(check):
            check()

    The method is imported when the first test runs. The arguments are `check_method`'s.
    """
    import pytest

    expected, chosen = _chosen(expected_failures, slow, only)
    shared: list[Subject] = []

    def runner(check: Check) -> Callable[[], None]:
        def run() -> None:
            if not shared:
                shared.append(_subject(name, registry, options))
            try:
                check.run(shared[0])
            except NotApplicable as reason:
                pytest.skip(f"{check.name} does not apply: {reason}")

        return run

    return [
        pytest.param(
            runner(check),
            id=check.name,
            marks=[pytest.mark.xfail(reason=expected[check.name], strict=True)] if check.name in expected else [],
        )
        for check in chosen
    ]


def _chosen(
    expected_failures: Mapping[str, str] | None, slow: bool, only: Sequence[str]
) -> tuple[Mapping[str, str], list[Check]]:
    expected = expected_failures or {}
    find_checks(list(expected))
    if blank := [name for name, reason in expected.items() if not reason.strip()]:
        raise CheckFailure(f"the expected failure of {blank[0]} has no reason; say why it fails")
    if only:
        return expected, find_checks(list(only))
    return expected, [check for check in all_checks().values() if slow or not check.slow]


def _subject(name: str, registry: Registry, options: Mapping[str, Any] | None) -> Subject:
    from ssl_registry.testing.subject import Subject

    return Subject(name, registry, options)


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, CheckFailure) else f"{type(error).__name__}: {text}"
