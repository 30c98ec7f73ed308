"""``ssl-registry check METHOD``: the conformance kit on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from ssl_registry._registry import registry
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.cli.tables import table_console
from ssl_registry.errors import ConfigError

if TYPE_CHECKING:
    from ssl_registry.testing import CheckResult

__all__ = ["run"]

COLOURS = {"passed": "green", "expected": "yellow", "skipped": "dim"}


def run(argv: list[str]) -> int:
    """Print a row for each check as it ends; exit code 1 when the method does not pass."""
    parser = QuickParser("check", "Check a method against the contract and the mistakes that toolboxes shipped.")
    parser.add_argument("method", help="its name, as `ssl-registry list` gives it")
    parser.add_argument("--all", action="store_true", help="also the checks that take a minute: processes, compiling")
    parser.add_argument("--only", nargs="+", action="extend", default=[], metavar="CHECK", help="these checks alone")
    parser.add_argument("--skip", nargs="+", action="extend", default=[], metavar="CHECK", help="all but these checks")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="OPTION=VALUE",
        help="options of the method, such as hidden_dim=64, and of the backbone: backbone=resnet18, image_size=32",
    )
    parser.add_argument(
        "--expect",
        nargs="+",
        action="extend",
        default=[],
        metavar="CHECK=REASON",
        help="checks that it fails, each with the reason",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    info = registry.info(options.method)
    registry.method_class(options.method)  # a method that breaks the contract is told before anything is loaded

    import yaml

    from ssl_registry._system.options import parse_options
    from ssl_registry.testing import run_checks
    from ssl_registry.testing.check import CREATE_OPTIONS

    given = {name: yaml.safe_load(value) for name, value in _pairs("--set", options.set)}
    own = {name: value for name, value in given.items() if name not in CREATE_OPTIONS}
    parse_options(registry.method_class(options.method).Config, own, owner=options.method)
    results = run_checks(
        options.method,
        expected_failures=dict(_pairs("--expect", options.expect)),
        slow=options.all,
        only=_without(options.skip, options.only, slow=options.all),
        options=given,
    )
    if options.json:
        rows = [asdict(result) for result in results]
        good = all(row["status"] not in ("failed", "unexpected") for row in rows)
        print(json.dumps({"method": info.qualified, "version": info.version, "passed": good, "checks": rows}, indent=2))
        return int(not good)
    return int(not _print_table(results))


def _without(skip: list[str], only: list[str], *, slow: bool) -> list[str]:
    """Return the names of the checks that are left; none stands for all."""
    if not skip:
        return only
    from ssl_registry.testing.checks import all_checks, find_checks

    find_checks(skip)
    names = only or [check.name for check in all_checks().values() if slow or not check.slow]
    if not (left := [name for name in names if name not in skip]):
        raise ConfigError("--skip leaves no check")
    return left


def _pairs(flag: str, words: list[str]) -> list[tuple[str, str]]:
    for word in words:
        if "=" not in word:
            raise ConfigError(f"{flag} takes NAME=VALUE, not {word!r}")
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def _print_table(results: Iterable[CheckResult]) -> bool:
    """Print each result as it comes, and a summary; return whether all is as it should be."""
    from rich.markup import escape

    console = table_console(highlight=False)
    counts: dict[str, int] = {}
    good = True
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
        good = good and result.is_good
        color = COLOURS.get(result.status, "red")
        console.print(f"{result.check:<26}[{color}]{result.status:<11}[/]{result.seconds:6.1f} s")
        if result.reason:
            console.print(f"    {escape(result.reason)}", style=color)
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    console.print(f"\n{told}. {'It conforms.' if good else 'It does not conform.'}")
    return good
