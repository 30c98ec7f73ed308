"""``ssl-registry bench SUITE``: methods side by side over seeds, as a table that says how it was made."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_registry._registry import registry
from ssl_registry._system.terminal import printable
from ssl_registry._system.trust import require_trust
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.contract.needs import needs_of
from ssl_registry.errors import ConfigError
from ssl_registry.recipes.finding import find_recipes
from ssl_registry.runs.deeds import deed_of_data
from ssl_registry.runs.folder import Run

if TYPE_CHECKING:
    from ssl_registry.workflows.bench import Cell, Suite

__all__ = ["run"]

DESCRIPTION = """Train methods on a suite's data, evaluate them by one protocol, and write the table. Any option of
`train` is passed on, for every method. The same command goes on where it was stopped."""

MADE = """Accuracy in per cent on the test part, mean ± standard deviation over seeds {seeds}. The best epoch is chosen
by k-NN on a fifth of the training samples, never on the test part. Memory on a CPU is the process's peak so far.

Made by `{command}` with {versions}."""


def run(argv: list[str]) -> int:
    """Fill the table cell by cell."""
    from ssl_registry.workflows.bench.suites import list_suites, load_suite

    parser = QuickParser("bench", DESCRIPTION)
    parser.add_argument("suite", metavar="SUITE", help=f"one of {', '.join(list_suites())}, or the path of a .yaml")
    parser.add_argument(
        "--methods", help="with commas between; default: all that ship the suite's recipe and take its samples"
    )
    parser.add_argument("--seeds", type=int, help="how many, from 0 on (default: the suite's)")
    parser.add_argument("--data", action="append", help="a source as for train; again for a further one")
    parser.add_argument("--out", help="folder of runs and table (default: runs/bench-SUITE)")
    options, rest = parser.parse_known_args(argv)
    suite = load_suite(options.suite)
    out = Path(options.out or f"runs/bench-{suite.name}")
    seeds = suite.seeds if options.seeds is None else options.seeds
    data = options.data or list(suite.data)
    if options.data is None and suite.is_own:
        require_trust(map(deed_of_data, data), where=options.suite, trust="--trust" in rest)
    if not data:
        raise ConfigError(f"suite {suite.name} knows no data: give --data. {suite.summary}")
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds} leaves nothing to do; give at least 1")
    methods = options.methods.split(",") if options.methods else _taking_part(suite)
    cells = _fill(suite, out, methods, data, seeds, rest)
    _write(out, suite, cells, ["bench", *argv])
    return 0


def _taking_part(suite: Suite) -> list[str]:
    usable = [info for info in registry.methods() if info.status in ("ok", "local")]
    names = [info.name for info in usable if suite.recipe in find_recipes(info)]
    names = [name for name in names if suite.takes(needs_of(registry.method_class(name)))]
    if not names:
        raise ConfigError(f"no installed method ships a recipe {suite.recipe!r}; name methods by --methods")
    return names


def _fill(suite: Suite, out: Path, methods: list[str], data: list[str], seeds: int, rest: list[str]) -> list[Cell]:
    from ssl_registry._system.memory import keep_freed_memory
    from ssl_registry.cli.settings import resolve
    from ssl_registry.cli.train import quieten
    from ssl_registry.workflows.bench import run_cell

    quieten()
    keep_freed_memory()
    planned = []
    for method in methods:
        info, cls = registry.info(method), registry.method_class(method)
        held = (f"suite {suite.name}", suite.settings_for(needs_of(cls)))
        recipe = ["--recipe", suite.recipe] if suite.recipe in find_recipes(info) else []
        for source in data:
            for seed in range(seeds):
                words = [*recipe, *rest, "--data", source, "--seed", str(seed)]
                settings = resolve(method, cls.Config, words, suite=held)
                planned.append((method, source, seed, settings.as_arguments()))
    cells = []
    for number, (method, source, seed, arguments) in enumerate(planned, 1):
        folder = out / method.replace(":", "-") / Path(source).stem / f"seed-{seed}"
        cell, found = run_cell(folder, method, arguments, protocols=suite.protocols)
        figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in cell.accuracy["last"].items())
        figures = "diverged: weights or features are not finite" if cell.diverged else figures
        how = "finished before" if found else "trained"
        line = f"[{number}/{len(planned)}] {method} on {source}, seed {seed}: {how}; {figures}"
        print(printable(line), file=sys.stderr)
        cells.append(cell)
    return cells


def _write(out: Path, suite: Suite, cells: list[Cell], argv: list[str]) -> None:
    """Write ``table.txt``, ``table.md`` and ``table.json``, and print the first."""
    from rich.console import Console
    from rich.table import Table

    from ssl_registry._system.atomic import write_beside
    from ssl_registry.workflows.bench import markdown, summarize
    from ssl_registry.workflows.bench.table import COLUMNS

    rows = summarize(cells)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row.words)
    console = Console(record=True)
    # A narrow terminal may break lines; the file must not lose columns.
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=1000)).maximum)
    console.print(table, highlight=False)
    run = Run(out / cells[0].method.replace(":", "-") / Path(cells[0].data).stem / f"seed-{cells[0].seed}")
    versions = run.read_results().versions
    command = shlex.join(["ssl-registry", *argv])
    seeds = sorted({cell.seed for cell in cells})
    made = MADE.format(
        seeds=", ".join(map(str, seeds)),
        command=command,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )
    write_beside(out / "table.txt", console.export_text())
    write_beside(out / "table.md", f"{markdown(rows)}\n\n{made}\n")
    facts = {"suite": suite.name, "command": command, "versions": versions, "seeds": seeds}
    content = {**facts, "rows": [asdict(row) for row in rows], "cells": [asdict(cell) for cell in cells]}
    write_beside(out / "table.json", json.dumps(content, indent=2))
    print(f"Written: {out / 'table.txt'}, table.md, table.json", file=sys.stderr)
