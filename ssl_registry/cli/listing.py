"""``ssl-registry list``: what is installed, and from where, read from metadata alone."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from dataclasses import asdict, replace

from ssl_registry._registry import FIRST_PARTY, registry
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.discovery.entry_points import MethodInfo
from ssl_registry.discovery.health import DEFAULT_TIMEOUT, import_problem

__all__ = ["add_timeout", "checked", "run"]

COLOURS = {"ok": "green", "local": "cyan", "blocked": "yellow"}


def run(argv: list[str]) -> int:
    """Print a row for each method; exit code 1 when ``--check`` finds a broken one."""
    parser = QuickParser("list", "List the installed methods.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="import each plugin, apart, and tell which are broken")
    add_timeout(parser)
    options = parser.parse_args(argv)
    found = registry.methods()
    if options.check:
        found = [checked(info, options.timeout) for info in found]
    rows = [asdict(info) for info in found]
    if options.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        _print_table(rows)
    else:
        print(f"No method is installed. Methods are separate packages: pip install {' '.join(FIRST_PARTY.values())}")
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


def checked(info: MethodInfo, timeout: float) -> MethodInfo:
    """Import one method in a process of its own, and mark it as broken if that fails."""
    if info.status not in ("ok", "conflict"):
        return info
    problem = import_problem(info, timeout=timeout)
    return replace(info, status="broken", problem=problem) if problem else info


def _print_table(rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("method", "package", "version", "status"):
        table.add_column(column, no_wrap=True)
    table.add_column("summary")
    for row in rows:
        color = COLOURS.get(row["status"], "red")
        summary = escape(row["summary"]) + (f"\n[{color}]{escape(row['problem'])}[/]" if row["problem"] else "")
        table.add_row(
            escape(row["name"]),
            escape(row["distribution"] or "(this process)"),
            escape(row["version"]),
            f"[{color}]{row['status']}[/]",
            summary,
        )
    Console().print(table)
