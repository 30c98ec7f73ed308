"""``ssl-registry list``: what is installed, and from where, read from metadata alone."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from argparse import ArgumentTypeError
from dataclasses import asdict
from typing import cast

from ssl_registry._registry import HOW_TO_INSTALL
from ssl_registry.cli.entries import checked, list_entries
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.discovery.entry_points import EntryInfo
from ssl_registry.discovery.health import DEFAULT_TIMEOUT

__all__ = ["add_timeout", "run"]

BOLD, RED, RESET = "\x1b[1m", "\x1b[31m", "\x1b[0m"
COLORS = {"ok": "\x1b[32m", "local": "\x1b[36m", "blocked": "\x1b[33m"}


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
        print(f"No method is installed. Methods are separate packages: {HOW_TO_INSTALL}")
    if others:
        print("\nPlugins also add:")
        _print_table(others, "name", with_kind=True)


def _print_table(rows: list[EntryInfo], title: str, *, with_kind: bool = False) -> None:
    """Print columns, the last one wrapped to a terminal's width; where output is no terminal, a row is one line.

    Not by rich, whose import and layout take longer than all else that this command does (benchmarks/startup.py).
    """
    table = [(title, *["kind"] * with_kind, "package", "version", "status", "summary")]
    for info in rows:
        package = info.distribution or "(this process)"
        table.append((info.name, *[info.kind] * with_kind, package, info.version, info.status, info.summary))
    widths = [max(map(len, column)) for column in list(zip(*table, strict=True))[:-1]]
    indent = sum(widths) + 2 * len(widths)
    terminal = sys.stdout.isatty()
    colored = terminal and "NO_COLOR" not in os.environ
    room = max(20, shutil.get_terminal_size().columns - indent) if terminal else sys.maxsize
    for cells, row in zip(table, cast("list[EntryInfo | None]", [None, *rows]), strict=True):
        first, *more = textwrap.wrap(cells[-1], room) or [""]
        words = [cell.ljust(width) for cell, width in zip(cells, [*widths, 0], strict=True)][:-1]
        color = BOLD if row is None else COLORS.get(row.status, RED)
        if colored:
            words = [f"{color}{word}{RESET}" if row is None or word is words[-1] else word for word in words]
        print("  ".join([*words, first]).rstrip())
        problem = textwrap.wrap(row.problem, room) if row is not None else []
        more += [f"{color}{line}{RESET}" for line in problem] if colored else problem
        for line in more:
            print(" " * indent + line)
