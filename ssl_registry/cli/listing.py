"""``ssl-registry list``: what is installed, and from where, read from metadata alone."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from dataclasses import asdict

from ssl_registry._registry import FIRST_PARTY
from ssl_registry.cli.entries import checked, list_entries
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.discovery.entry_points import EntryInfo
from ssl_registry.discovery.health import DEFAULT_TIMEOUT

__all__ = ["add_timeout", "run"]

COLORS = {"ok": "green", "local": "cyan", "blocked": "yellow"}


def run(argv: list[str]) -> int:
    """Print a row for each entry; exit code 1 when ``--check`` finds a broken one."""
    parser = QuickParser(
        "list", "List the installed methods, and the sources, export formats and backbones that plugins add."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="import each plugin, apart, and tell which are broken")
    add_timeout(parser)
    options = parser.parse_args(argv)
    found = list_entries()
    if options.check:
        found = checked(found, options.timeout)
    if options.json:
        print(json.dumps([asdict(info) for info in found], indent=2))
    else:
        _print(found)
    return int(options.check and any(info.status == "broken" for info in found))


def add_timeout(parser: QuickParser) -> None:
    """Give a command the option ``--timeout``."""
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT,
        help="seconds that a plugin's import may take (%(default)g)",
    )


def _seconds(word: str) -> float:
    seconds = float(word)
    if not 0 < seconds < float("inf"):
        raise ArgumentTypeError(f"{word} is no number of seconds above 0")
    return seconds


def _print(found: list[EntryInfo]) -> None:
    """Print the methods, and below them what else plugins add."""
    methods = [info for info in found if info.kind == "method"]
    others = [info for info in found if info.kind != "method"]
    if methods:
        _print_table(methods, "method")
    else:
        print(f"No method is installed. Methods are separate packages: pip install {' '.join(FIRST_PARTY.values())}")
    if others:
        print("\nPlugins also add:")
        _print_table(others, "name", with_kind=True)


def _print_table(rows: list[EntryInfo], title: str, *, with_kind: bool = False) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (title, *["kind"] * with_kind, "package", "version", "status"):
        table.add_column(column, no_wrap=True)
    table.add_column("summary")
    for info in rows:
        color = COLORS.get(info.status, "red")
        problem = f"\n[{color}]{escape(info.problem)}[/]" if info.problem else ""
        table.add_row(
            escape(info.name),
            *[info.kind] * with_kind,
            escape(info.distribution or "(this process)"),
            escape(info.version),
            f"[{color}]{info.status}[/]",
            escape(info.summary) + problem,
        )
    Console().print(table)
