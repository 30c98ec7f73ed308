"""``ssl-registry runs [FOLDER]``: the runs of a folder; the best of them; and clearing away what is of no use."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_registry._system.terminal import one_line, printable, tell
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.cli.tables import table_console
from ssl_registry.errors import ConfigError

if TYPE_CHECKING:
    from ssl_registry.runs.catalog import Entry

__all__ = ["run"]

STYLES = {"finished": "green", "running": "cyan", "interrupted": "yellow", "diverged": "red", "damaged": "red"}


def run(argv: list[str]) -> int:
    """Print a row for each run; ``best`` and ``clean`` stand first."""
    if argv[:1] == ["clean"]:
        return _clean(argv[1:])
    best_alone = argv[:1] == ["best"]
    parser = QuickParser(
        "runs best" if best_alone else "runs",
        "List the best finished run for each data set."
        if best_alone
        else "List runs, the last changed first. `runs best` lists the best of each data set, `runs clean` removes "
        "what is of no use.",
    )
    parser.add_argument("folder", nargs="?", default="runs", help="where runs lie, at any depth (default: runs)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv[1:] if best_alone else argv)
    from ssl_registry.runs.catalog import best, find_runs

    found = find_runs(Path(options.folder))
    shown = best(found) if best_alone else found
    if options.json:
        print(json.dumps([asdict(entry) | {"folder": str(entry.folder)} for entry in shown], indent=2))
    elif shown:
        _print(shown)
    elif best_alone and found:
        tell(f"none of the {len(found)} runs in {options.folder} is finished and measured with labels")
    else:
        tell(f"no runs in {options.folder}; ssl-registry train METHOD makes one")
    return 0


def _clean(argv: list[str]) -> int:
    parser = QuickParser(
        "runs clean",
        "Remove runs that were interrupted or diverged, and finished ones that a later run with the same settings "
        "supersedes. A run that is going on stays, and so does a folder with anything that training did not write.",
    )
    parser.add_argument("folder", nargs="?", default="runs", help="where runs lie, at any depth (default: runs)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be removed, and remove nothing")
    options = parser.parse_args(argv)
    from ssl_registry.runs.catalog import disposable, find_runs, remove

    found = disposable(find_runs(Path(options.folder)))
    chosen = [(entry, why) for entry, why in found if not entry.others]
    for entry, _ in found:
        if entry.others:
            tell(f"kept: {entry.folder} holds {', '.join(entry.others[:3])}, which training did not write")
    for entry, why in chosen:
        tell(f"{'would remove' if options.dry_run else 'to remove'}: {entry.folder} ({why}, {_bytes(entry.size)})")
    if not chosen:
        print("nothing to remove")
        return 0
    total = f"{len(chosen)} runs, {_bytes(sum(entry.size for entry, _ in chosen))}"
    if options.dry_run:
        print(f"{total}; nothing was removed")
        return 0
    if not options.yes and not _agreed(f"Remove {total}? [y/N] "):
        print("nothing was removed")
        return 0
    removed = [entry for entry, _ in chosen if remove(entry)]
    print(f"removed {len(removed)} runs, {_bytes(sum(entry.size for entry in removed))}")
    return 0


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to ask; add --yes to remove them, or --dry-run to see them alone")
    return input(question).strip().lower() in ("y", "yes")


def _print(entries: Sequence[Entry]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "method", "data", "state", "score", "size", "changed"):
        table.add_column(name, justify="right" if name in ("score", "size") else "left", overflow="fold")
    for entry in entries:
        score = (
            "" if entry.score is None else f"{entry.score:.3f} {'k-NN' if entry.protocol == 'knn' else entry.protocol}"
        )
        cells = [str(entry.folder), entry.method or "", entry.data or ""]
        table.add_row(
            *(Text(printable(one_line(cell))) for cell in cells),
            Text(entry.state, style=STYLES[entry.state]),
            score,
            _bytes(entry.size),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.changed)),
        )
    table_console().print(table)
    for entry in entries:
        if entry.problem:
            tell(f"{entry.folder}: {entry.problem}")


def _bytes(size: int) -> str:
    """Return a size in words.

    >>> _bytes(512), _bytes(44_752_928)
    ('512 B', '44.8 MB')
    """
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"
