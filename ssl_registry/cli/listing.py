"""``ssl-registry list``: what is installed, and from where, read from metadata alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

from ssl_registry._registry import FIRST_PARTY, registry
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.discovery import MethodInfo

__all__ = ["run"]

COLOURS = {"ok": "green", "local": "cyan", "blocked": "yellow"}


def run(argv: list[str]) -> int:
    """Print a row for each method; exit code 1 when ``--check`` finds a broken one."""
    parser = QuickParser("list", "List the installed methods.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="import each plugin, apart, and tell which are broken")
    options = parser.parse_args(argv)
    rows = [asdict(info) for info in registry.methods()]
    if options.check:
        rows = [row | _check(MethodInfo(**row)) for row in rows]
    if options.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        _print_table(rows)
    else:
        print(f"No method is installed. Methods are separate packages: pip install {' '.join(FIRST_PARTY.values())}")
    return int(any(row["status"] == "broken" for row in rows))


def _check(info: MethodInfo) -> dict[str, str]:
    """Import one method in a process of its own: a plugin that crashes takes nothing with it."""
    if info.status not in ("ok", "conflict"):
        return {}
    code = "import sys; from ssl_registry import registry; registry.method_class(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, info.qualified], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return {}
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {"status": "broken", "problem": last.partition("Error: ")[2] or last}


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
