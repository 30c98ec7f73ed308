"""``ssl-registry bench SUITE``: methods side by side over seeds, as a table that says how it was made."""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from ssl_registry._registry import registry
from ssl_registry._system.locking import lock_file
from ssl_registry._system.terminal import printable
from ssl_registry._system.trust import require_trust
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.contract.needs import needs_of
from ssl_registry.errors import ConfigError, SSLRegistryError, did_you_mean
from ssl_registry.recipes.finding import find_recipes
from ssl_registry.runs.deeds import deed_of_data
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


@dataclass(frozen=True)
class Planned:
    """A cell to fill: a method, or ``supervised``, on one source with one seed."""

    suite: Suite
    method: str
    data: str
    seed: int
    folder: Path
    arguments: dict[str, Any]

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.suite.name}: {self.method} on {self.data}, seed {self.seed}"


def run(argv: list[str]) -> int:
    """Fill the table cell by cell."""
    options, rest = _parse(argv)
    from ssl_registry.workflows.bench.cells import find_cell

    suites = _suites(options, rest)
    out = Path(options.out or f"runs/bench-{Path(options.suite).stem}")
    plan = _plan(suites, out, options, rest)
    if options.shard:
        number, count = _shard(options.shard)
        _fill(plan[number - 1 :: count])
        return 0
    if options.jobs > 1:
        _fill_in_processes(argv, options.jobs)
    if options.finished:
        cells = [cell for planned in plan if (cell := find_cell(planned.folder)) is not None]
        if not cells:
            raise ConfigError(f"{out} holds no finished run of this suite; leave --finished out to train")
        failed: list[tuple[str, str]] = []
    else:
        cells, failed = _fill(plan)
    if cells:
        _write(out, suites, cells, ["bench", *argv])
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
    if options.jobs > 1 and options.shard:
        raise ConfigError("--jobs are processes of one machine, --shard is a part for one of many; give one of them")
    if options.shard:
        _shard(options.shard)
    return options, rest


def _suites(options: Namespace, rest: list[str]) -> list[Suite]:
    """Return the suites with their data; those of several that know none are named and left out."""
    from ssl_registry.workflows.bench.suites import load_suites

    suites = load_suites(options.suite)
    names = [suite.name for suite in suites]
    if options.suites:
        wanted = options.suites.split(",")
        for name in wanted:
            if name not in names:
                raise ConfigError(
                    f"{options.suite} has no suite {name!r}.{did_you_mean(name, names)} It has: {', '.join(names)}"
                )
    given: dict[str, list[str]] = {}
    for word in options.data or ():
        name, found, source = word.partition("=")
        if len(suites) > 1 and (not found or name not in names):
            raise ConfigError(
                f"--data {word}: say which suite it is for, such as {names[0]}={word}; of {', '.join(names)}"
            )
        given.setdefault(name if len(suites) > 1 else suites[0].name, []).append(source if len(suites) > 1 else word)
    ready = []
    for suite in suites:
        if options.suites and suite.name not in wanted:
            continue
        if suite.name not in given and suite.is_own:
            require_trust(map(deed_of_data, suite.data), where=options.suite, trust="--trust" in rest)
        data = tuple(given.get(suite.name, suite.data))
        if not data and len(suites) == 1:
            raise ConfigError(f"suite {suite.name} knows no data: give --data. {suite.summary}")
        if not data:
            print(printable(f"left out: {suite.name}, which has no data. {suite.summary}"), file=sys.stderr)
            continue
        ready.append(replace(suite, data=data, seeds=suite.seeds if options.seeds is None else options.seeds))
    if not ready:
        raise ConfigError(f"{options.suite}: no suite has data; give --data SUITE=SOURCE")
    return ready


def _taking_part(suite: Suite) -> list[str]:
    usable = [info for info in registry.methods() if info.status in ("ok", "local")]
    names = [info.name for info in usable if suite.recipe in find_recipes(info)]
    names = [name for name in names if suite.takes(needs_of(registry.method_class(name)))]
    if not names:
        raise ConfigError(f"no installed method ships a recipe {suite.recipe!r}; name methods by --methods")
    return names


def _plan(suites: Sequence[Suite], out: Path, options: Namespace, rest: list[str]) -> list[Planned]:
    """Return all cells, seed after seed: a table that is stopped has whole seeds."""
    from ssl_registry.cli.settings import resolve
    from ssl_registry.cli.train import quieten
    from ssl_registry.workflows.bench import SUPERVISED

    quieten()
    several = suites[0].of_several
    resolved: dict[tuple[str, str, str], dict[str, Any]] = {}
    planned = []
    for seed in range(max(suite.seeds for suite in suites)):
        for suite in (suite for suite in suites if seed < suite.seeds):
            methods = options.methods.split(",") if options.methods else _taking_part(suite)
            if several:  # of the named ones those that take its samples
                methods = [name for name in methods if suite.takes(needs_of(registry.method_class(name)))]
            for source in suite.data:
                of_suite = out / suite.name if several else out
                where = {
                    name: of_suite / name.replace(":", "-") / Path(source).stem / f"seed-{seed}"
                    for name in (*methods, SUPERVISED)
                }
                for method in methods:
                    key = (suite.name, method, source)
                    if key not in resolved:
                        info, cls = registry.info(method), registry.method_class(method)
                        held = (f"suite {suite.name}", suite.settings_for(needs_of(cls)))
                        recipe = ["--recipe", suite.recipe] if suite.recipe in find_recipes(info) else []
                        words = [*recipe, *rest, "--data", source, "--seed", "0"]
                        resolved[key] = resolve(method, cls.Config, words, suite=held).as_arguments()
                    arguments = {**resolved[key], "seed": seed}
                    planned.append(Planned(suite, method, source, seed, where[method], arguments))
                if len(suite.labels) > 1:
                    # The suite's own network, which a method on tokens does not have.
                    plain = [name for name in methods if not needs_of(registry.method_class(name)).tokens]
                    of = where[(plain or methods)[0]]
                    planned.append(Planned(suite, SUPERVISED, source, seed, where[SUPERVISED], {"of": of}))
    return planned


def _shard(words: str) -> tuple[int, int]:
    number, _, count = words.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"--shard {words}: write it as I/N, with I from 1 to N, such as 2/8")
    return int(number), int(count)


def _fill(plan: Sequence[Planned]) -> tuple[list[Cell], list[tuple[str, str]]]:
    """Fill cells that no other process is filling; return them in order, and what failed."""
    from ssl_registry._system.memory import keep_freed_memory
    from ssl_registry.workflows.bench import SUPERVISED

    keep_freed_memory()
    cells: dict[int, Cell] = {}
    failed = []
    # Supervised ones last: they take the network of a finished run.
    order = sorted(range(len(plan)), key=lambda index: (plan[index].method == SUPERVISED, index))
    for number, index in enumerate(order, 1):
        planned = plan[index]
        planned.folder.mkdir(parents=True, exist_ok=True)
        try:
            with lock_file(planned.folder / ".bench.lock", wait=False):
                cell, found = _fill_one(planned)
        except Timeout:
            print(printable(f"[{number}/{len(plan)}] {planned.title}: another process is at it"), file=sys.stderr)
            continue
        except SSLRegistryError as error:
            if len(plan) == 1:
                raise
            print(printable(f"[{number}/{len(plan)}] {planned.title}: failed"), file=sys.stderr)
            failed.append((planned.title, str(error)))
            continue
        figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in cell.accuracy["last"].items())
        figures = "diverged: weights or features are not finite" if cell.diverged else figures
        how = "finished before" if found else "trained"
        print(printable(f"[{number}/{len(plan)}] {planned.title}: {how}; {figures}"), file=sys.stderr)
        cells[index] = cell
    return [cells[index] for index in sorted(cells)], failed


def _fill_one(planned: Planned) -> tuple[Cell, bool]:
    from ssl_registry.workflows.bench import SUPERVISED, run_cell, run_supervised

    suite = planned.suite
    if planned.method == SUPERVISED:
        return run_supervised(
            planned.folder,
            planned.arguments["of"],
            labels=suite.labels,
            seed=planned.seed,
            epochs=suite.supervised_epochs,
            suite=suite.name,
        )
    return run_cell(
        planned.folder,
        planned.method,
        planned.arguments,
        protocols=suite.protocols,
        labels=suite.labels,
        best=suite.best,
        suite=suite.name,
    )


def _fill_in_processes(argv: list[str], jobs: int) -> None:
    """Let several processes fill what none of them has begun; whatever they leave is filled by the caller."""
    context = multiprocessing.get_context("spawn")
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = before or threads  # read when a child imports torch
    try:
        workers = [context.Process(target=_work, args=(argv,)) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]


def _work(argv: list[str]) -> None:
    options, rest = _parse(argv)
    rest = [*rest, "--trainer.enable_progress_bar", "false"]
    suites = _suites(options, rest)
    _fill(_plan(suites, Path(options.out or f"runs/bench-{Path(options.suite).stem}"), options, rest))


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
