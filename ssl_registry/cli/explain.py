"""``ssl-registry explain``: every option of a run, or of a ``train`` command, and where its value comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_registry._system.terminal import printable
from ssl_registry.cli.tables import table_console
from ssl_registry.errors import ConfigError

if TYPE_CHECKING:
    from ssl_registry.data import Source
    from ssl_registry.model.module import SSLModule
    from ssl_registry.run_options import RunOptions

__all__ = ["run"]

HELP = """usage: ssl-registry explain RUN [--json]
       ssl-registry explain METHOD [OPTIONS OF TRAIN] [--measure] [--json]

Show every option with its value and where that comes from: default, recipe (with its source), file or flag; and what
the samples, the device, the method or the weights to start from decide where nothing is said. Of a command, also its
parameters and batches, and with --measure the time and memory of the whole run on a CPU, from two steps of it.

  ssl-registry explain runs/byol-resnet18
  ssl-registry explain byol --recipe cifar10 --batch-size 512"""


def run(argv: list[str]) -> int:
    """Print the table."""
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP)
        return 0
    words = [word for word in argv if word not in ("--json", "--measure")]
    measure = "--measure" in argv
    is_run = Path(words[0]).is_dir()
    rows = _of_run(Path(words[0]), words[1:]) if is_run else _of_command(words[0], words[1:], measure=measure)
    if "--json" in argv:
        print(json.dumps({option: {"value": value, "from": place} for option, value, place in rows}, indent=2))
    else:
        _print_table(rows)
    return 0


def _of_run(folder: Path, rest: list[str]) -> list[tuple[str, Any, str]]:
    from ssl_registry._system.yaml_files import flatten
    from ssl_registry.runs.folder import Run

    if rest:
        raise ConfigError(f"{folder} is a run, which takes no further options: {' '.join(rest)}")
    run = Run(folder)
    if not run.settings.is_file():
        raise ConfigError(
            f"{folder} is no run: it has no config.yaml; of data: ssl-registry explain METHOD --data {folder}"
        )
    origins, settings = run.provenance(), run.read_settings()
    rows = [(option, value, origins.get(option, "not recorded")) for option, value in flatten(settings.values)]
    return [*rows, *_forbidden(rows, origins)]


def _of_command(method: str, rest: list[str], *, measure: bool) -> list[tuple[str, Any, str]]:
    from ssl_registry._registry import registry
    from ssl_registry._system.yaml_files import flatten
    from ssl_registry.cli.methods import find_method

    config_class = find_method("explain", method, rest).Config
    from ssl_registry.cli.messages import quieten
    from ssl_registry.cli.settings import resolve

    settings = resolve(method, config_class, rest)
    quieten()
    from ssl_registry.training.building import build_model, decide, origin_of_views, read_options

    asked, source = read_options(dict(settings.run), owner="train", trainer=settings.trainer)
    run, deciders = decide(method, asked, source, settings.trainer, registry=registry)
    origins = {**origin_of_views(source), **deciders, **settings.origins}
    values = {**run.model_dump(mode="json"), "trainer": settings.trainer, **settings.options}
    rows = [(option, value, origins.get(option, "default")) for option, value in flatten(values)]
    # Weights change neither numbers nor times: nothing is fetched or read for them.
    bare = run.model_copy(update={"pretrained": False, "start_from": None})
    model = build_model(method, source, bare, options=settings.options, registry=registry)
    return [*rows, *_forbidden(rows, origins), *_cost(source, model, run, settings.trainer, measure=measure)]


def _cost(
    source: Source, model: SSLModule, run: RunOptions, trainer: Mapping[str, Any], *, measure: bool
) -> list[tuple[str, Any, str]]:
    """Return what such a run is and costs: parameters, batches, and on a CPU its time and memory."""
    from ssl_registry._system.memory import peak_memory
    from ssl_registry.training.defaults import has_accelerator
    from ssl_registry.training.estimate import duration, run_length, seconds_a_batch
    from ssl_registry.training.trainer import count_processes

    rows: list[tuple[str, Any, str]] = [
        (f"({name})", f"{sum(parameter.numel() for parameter in part.parameters()) / 1e6:.2f} M", "parameters")
        for name, part in (("backbone", model.backbone), ("heads", model.heads))
    ]
    processes = count_processes(trainer)
    count = run_length(len(source.train), run, trainer, processes=processes)
    if count is not None:
        rows.append(("(batches)", count, "of the whole run"))
    if not measure:
        return rows
    if has_accelerator(trainer) or processes > 1 or run.compile or count is None:
        raise ConfigError(
            "--measure makes two steps on one CPU; on an accelerator, with several processes, --compile or no end but "
            "a time, ssl-registry profile measures, and train tells behind its first steps"
        )
    seconds = seconds_a_batch(model, source, run, trainer)
    if seconds is None:
        return [*rows, ("(time)", "not known", "the steps fail; train says why")]
    memory = [("(memory)", f"{peak_memory() / 1e9:.1f} GB", "two steps")] if peak_memory() else []
    return [*rows, ("(time)", f"about {duration(seconds * count)}", "two steps"), *memory]


def _forbidden(rows: list[tuple[str, Any, str]], origins: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    """Return a row on what the source forbids the views, where changes to them have the rows of their own."""
    shown = "views" not in origins or any(option == "views" for option, _, _ in rows)
    return [] if shown else [("views", "(all other fields)", origins["views"])]


def _print_table(rows: list[tuple[str, Any, str]]) -> None:
    """Print the rows; a recipe's sources are long and repeat themselves, so they become footnotes."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("option", "value", "from"):
        table.add_column(column, overflow="fold")
    notes: list[str] = []
    for option, value, place in rows:
        kind, colon, note = place.partition(": ")
        if colon and note not in notes:
            notes.append(note)
        where = f"{kind} [{notes.index(note) + 1}]" if colon else place
        cells = (escape(printable(text)) for text in (option, str(value), where))
        table.add_row(*cells, style="dim" if place == "default" else "")
    console = table_console()
    console.print(table, highlight=False)
    for number, note in enumerate(notes, 1):
        console.print(escape(printable(f"[{number}] {note}")), highlight=False)
