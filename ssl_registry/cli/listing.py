"""``ssl-registry list``: what is installed, and from where, read from metadata alone."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from ssl_registry._registry import FIRST_PARTY, registry
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.discovery import MethodInfo
from ssl_registry.errors import SSLRegistryError
from ssl_registry.health import DEFAULT_TIMEOUT, import_problem

__all__ = ["checked", "run"]

COLOURS = {"ok": "green", "local": "cyan", "blocked": "yellow"}


def run(argv: list[str]) -> int:
    """Print a row for each method; exit code 1 when ``--check`` finds a broken one."""
    parser = QuickParser("list", "List the installed methods.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="import each plugin, apart, and tell which are broken")
    parser.add_argument(
        "--timeout", type=float, default=DEFAULT_TIMEOUT, help="seconds that --check gives each import (%(default)g)"
    )
    options = parser.parse_args(argv)
    if not 0 < options.timeout < float("inf"):
        raise SSLRegistryError(f"--timeout {options.timeout:g} must be a number of seconds above 0")
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
        colour = COLOURS.get(row["status"], "red")
        summary = escape(row["summary"]) + (f"\n[{colour}]{escape(row['problem'])}[/]" if row["problem"] else "")
        table.add_row(
            escape(row["name"]),
            escape(row["distribution"] or "(this process)"),
            escape(row["version"]),
            f"[{colour}]{row['status']}[/]",
            summary,
        )
    Console().print(table)
