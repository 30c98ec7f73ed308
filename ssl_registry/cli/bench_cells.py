"""The cells of a ``bench``: which there are, and how one process or several fill them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from ssl_registry._registry import registry
from ssl_registry._system.locking import lock_file
from ssl_registry._system.terminal import printable
from ssl_registry._system.trust import require_trust
from ssl_registry.contract.needs import needs_of
from ssl_registry.errors import ConfigError, SSLRegistryError, did_you_mean
from ssl_registry.recipes.finding import find_recipes
from ssl_registry.runs.deeds import deed_of_data

if TYPE_CHECKING:
    from argparse import Namespace

    from ssl_registry.workflows.bench import Cell, Suite

__all__ = [
    "Planned",
    "fill_cells",
    "fill_in_processes",
    "folder_of",
    "plan_cells",
    "read_suites",
    "taking_part",
]


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


def folder_of(options: Namespace) -> Path:
    """Return the folder of runs and table."""
    return Path(options.out or f"runs/bench-{Path(options.suite).stem}")


def read_suites(options: Namespace, rest: list[str]) -> list[Suite]:
    """Return the suites with their data; those of several that know none are named and left out."""
    from ssl_registry.workflows.bench.suites import load_suites

    suites = load_suites(options.suite)
    names, several = [suite.name for suite in suites], suites[0].of_several
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
        if several and (not found or name not in names):
            raise ConfigError(
                f"--data {word}: say which suite it is for, such as {names[0]}={word}; of {', '.join(names)}"
            )
        given.setdefault(name if several else names[0], []).append(source if several else word)
    ready = []
    for suite in suites:
        if options.suites and suite.name not in wanted:
            continue
        if suite.name not in given and suite.is_own:
            require_trust(map(deed_of_data, suite.data), where=options.suite, trust="--trust" in rest)
        data = tuple(given.get(suite.name, suite.data))
        if not data and not several:
            raise ConfigError(f"suite {suite.name} knows no data: give --data. {suite.summary}")
        if not data:
            print(printable(f"left out: {suite.name}, which has no data. {suite.summary}"), file=sys.stderr)
            continue
        ready.append(replace(suite, data=data, seeds=suite.seeds if options.seeds is None else options.seeds))
    if not ready:
        raise ConfigError(f"{options.suite}: no suite has data; give --data SUITE=SOURCE")
    return ready


def taking_part(suite: Suite) -> list[str]:
    """Return the installed methods that ship the suite's recipe and take its samples.

    Raises:
        ConfigError: if there is none.
    """
    usable = [info for info in registry.methods() if info.status in ("ok", "local")]
    names = [info.name for info in usable if suite.recipe in find_recipes(info)]
    names = [name for name in names if suite.takes(needs_of(registry.method_class(name)))]
    if not names:
        raise ConfigError(f"no installed method ships a recipe {suite.recipe!r}; name methods by --methods")
    return names


def plan_cells(suites: Sequence[Suite], options: Namespace, rest: list[str]) -> list[Planned]:
    """Return all cells, seed after seed: a table that is stopped has whole seeds."""
    from ssl_registry.cli.messages import quieten
    from ssl_registry.cli.settings import resolve
    from ssl_registry.workflows.bench import SUPERVISED

    quieten()
    out, several = folder_of(options), suites[0].of_several
    resolved: dict[tuple[str, str, str], dict[str, Any]] = {}
    planned = []
    for seed in range(max(suite.seeds for suite in suites)):
        for suite in (suite for suite in suites if seed < suite.seeds):
            methods = options.methods.split(",") if options.methods else taking_part(suite)
            if several:  # of the named ones those that take its samples
                methods = [name for name in methods if suite.takes(needs_of(registry.method_class(name)))]
            for source in suite.data:
                of_suite = out / suite.name if several else out
                # The suite's own network is trained on labels too; where all methods work on tokens, theirs.
                plain = [name for name in methods if not needs_of(registry.method_class(name)).tokens]
                on_labels = SUPERVISED if plain else f"{SUPERVISED}-tokens"
                where = {
                    name: of_suite / name.replace(":", "-") / Path(source).stem / f"seed-{seed}"
                    for name in (*methods, on_labels)
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
                    of = where[(plain or methods)[0]]
                    planned.append(Planned(suite, SUPERVISED, source, seed, where[on_labels], {"of": of}))
    return planned


def fill_cells(plan: Sequence[Planned]) -> tuple[list[Cell], list[tuple[str, str]]]:
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


def fill_in_processes(suites: Sequence[Suite], options: Namespace, rest: list[str]) -> None:
    """Let ``options.jobs`` processes fill what none of them has begun; whatever they leave is filled by the caller."""
    context = multiprocessing.get_context("spawn")
    before = os.environ.get("OMP_NUM_THREADS")
    # Read when a process imports torch.
    os.environ["OMP_NUM_THREADS"] = before or str(max(1, (os.cpu_count() or 1) // options.jobs))
    quiet = [*rest, "--trainer.enable_progress_bar", "false"]  # bars of several processes overwrite each other
    try:
        workers = [context.Process(target=_work, args=(suites, options, quiet)) for _ in range(options.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]


def _work(suites: Sequence[Suite], options: Namespace, rest: list[str]) -> None:
    fill_cells(plan_cells(suites, options, rest))
