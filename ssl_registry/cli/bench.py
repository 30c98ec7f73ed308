"""``ssl-registry bench SUITE``: methods side by side over seeds, as a table that says how it was made."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_registry._system.terminal import printable
from ssl_registry.cli.bench_cells import fill_cells, fill_in_processes, folder_of, plan_cells, read_suites
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.errors import ConfigError
from ssl_registry.runs.folder import Run

if TYPE_CHECKING:
    from argparse import Namespace

    from ssl_registry.workflows.bench import Cell, Suite

__all__ = ["run"]

DESCRIPTION = """Train methods on a suite's data, evaluate them by one protocol, and write the table; `catalogue` is
every installed method on several suites. Any option of `train` is passed on, for every method. The same command goes on
where it was stopped."""

MADE = """Accuracy in per cent on the test part, mean ± standard deviation over seeds {seeds}.{best} Memory on a CPU is
the process's peak so far.

Made by `{command}` with {versions}."""
BEST = " The best epoch is chosen by k-NN on a fifth of the training samples, never on the test part."


def run(argv: list[str]) -> int:
    """Fill the table cell by cell."""
    options, rest = _parse(argv)
    from ssl_registry.workflows.bench.cells import find_cell

    suites = read_suites(options, rest)
    if options.jobs > 1:
        fill_in_processes(suites, options, rest)
    plan = plan_cells(suites, options, rest)
    failed: list[tuple[str, str]] = []
    if options.finished:
        cells = [cell for planned in plan if (cell := find_cell(planned.folder)) is not None]
        if not cells:
            raise ConfigError(
                f"{folder_of(options)} holds no finished run of this suite; leave --finished out to train"
            )
    elif options.shard:
        number, count = _shard(options.shard)
        cells, failed = fill_cells(plan[number - 1 :: count])
    else:
        cells, failed = fill_cells(plan)
    if cells and not options.shard:
        _write(folder_of(options), suites, cells, ["bench", *argv])
    for title, error in failed:
        print(printable(f"no figures: {title}: {error}"), file=sys.stderr)
    return 2 if failed else 0


def _parse(argv: list[str]) -> tuple[Namespace, list[str]]:
    from ssl_registry.workflows.bench.suites import list_suites

    parser = QuickParser("bench", DESCRIPTION)
    parser.add_argument("suite", metavar="SUITE", help=f"one of {', '.join(list_suites())}, or the path of a .yaml")
    parser.add_argument(
        "--methods", help="with commas between; default: all that ship the suite's recipe and take its samples"
    )
    parser.add_argument("--seeds", type=int, help="how many, from 0 on (default: the suite's)")
    parser.add_argument(
        "--data",
        action="append",
        help="a source as for train; again for a further one; SUITE=SOURCE where there are several",
    )
    parser.add_argument("--suites", help="of a file of several, with commas between (default: all)")
    parser.add_argument("--out", help="folder of runs and table (default: runs/bench-SUITE)")
    parser.add_argument("--jobs", type=int, default=1, help="processes on this machine (default: 1)")
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="fill every N-th cell, from the I-th on, and write no table: for an array of jobs",
    )
    parser.add_argument("--finished", action="store_true", help="train nothing: write the table of what is finished")
    options, rest = parser.parse_known_args(argv)
    if options.seeds is not None and options.seeds < 1:
        raise ConfigError(f"--seeds {options.seeds} leaves nothing to do; give at least 1")
    if options.jobs < 1:
        raise ConfigError(f"--jobs {options.jobs} leaves nobody to do it; give at least 1")
    if options.finished and (options.shard or options.jobs > 1):
        raise ConfigError("--finished trains nothing, so there is nothing to share out; leave --jobs and --shard out")
    if options.jobs > 1 and options.shard:
        raise ConfigError("--jobs are processes of one machine, --shard is a part for one of many; give one of them")
    if options.shard:
        _shard(options.shard)
    return options, rest


def _shard(words: str) -> tuple[int, int]:
    number, _, count = words.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"--shard {words}: write it as I/N, with I from 1 to N, such as 2/8")
    return int(number), int(count)


def _write(out: Path, suites: Sequence[Suite], cells: list[Cell], argv: list[str]) -> None:
    """Write ``table.txt``, ``table.md`` and ``table.json``, and print the first."""
    from rich.console import Console
    from rich.table import Table

    from ssl_registry._system.atomic import write_beside
    from ssl_registry.workflows.bench import SUPERVISED, markdown, summarize
    from ssl_registry.workflows.bench.table import columns_of

    rows = summarize(cells)
    columns = columns_of(rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(row.words[column] for column in columns))
    console = Console(record=True)
    # A narrow terminal may break lines; the file must not lose columns.
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=1000)).maximum)
    console.print(table, highlight=False)
    trained = [cell for cell in cells if cell.method != SUPERVISED]
    versions: dict[str, str] = {}
    for cell in trained[:1]:
        of_suite = out / cell.suite if suites[0].of_several else out
        run = Run(of_suite / cell.method.replace(":", "-") / Path(cell.data).stem / f"seed-{cell.seed}")
        versions = run.read_results().versions
    command = shlex.join(["ssl-registry", *argv])
    seeds = sorted({cell.seed for cell in cells})
    made = MADE.format(
        seeds=", ".join(map(str, seeds)),
        best=BEST if any(suite.best for suite in suites) else "",
        command=command,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )
    write_beside(out / "table.txt", console.export_text())
    write_beside(out / "table.md", f"{markdown(rows)}\n\n{made}\n")
    facts = {"suites": [suite.name for suite in suites], "command": command, "versions": versions, "seeds": seeds}
    content = {**facts, "rows": [asdict(row) for row in rows], "cells": [asdict(cell) for cell in cells]}
    write_beside(out / "table.json", json.dumps(content, indent=2))
    print(f"Written: {out / 'table.txt'}, table.md, table.json", file=sys.stderr)
