"""`write_report`: read runs, look at their networks, and write the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry._system.atomic import given_path, write_beside
from ssl_registry.data import Source
from ssl_registry.errors import ConfigError, SSLRegistryError
from ssl_registry.model.module import SSLModule
from ssl_registry.runs.opened import open_run
from ssl_registry.workflows.report.facts import RunFacts, named_apart, read_facts
from ssl_registry.workflows.report.gallery import Gallery, build_gallery
from ssl_registry.workflows.report.page import render
from ssl_registry.workflows.report.run_page import RunPage

__all__ = ["reopened", "write_report", "write_run_report"]

NAME = "report.html"


def write_report(
    *runs: str | Path, out: str | Path | None = None, trust: bool = False, registry: Registry = default_registry
) -> Path:
    """Write the report of one run, or of several side by side.

    Args:
        runs: folders that `ssl_registry.train` wrote.
        out: the file; default: ``report.html`` in the run's folder, or in the current one for several.
        trust: run and fetch what the runs' files name, such as the Python file of a network; without it such a run has
            no pictures.
        registry: where methods are looked up.

    Returns:
        The file, one that opens offline.

    Raises:
        ConfigError: if a folder is no run's, or there is none, or ``out`` is no name of a page.
    """
    if not runs:
        raise ConfigError("a report needs the folder of at least one run")
    path = _place(runs, out)
    read = named_apart([read_facts(Path(run)) for run in runs])
    pages = []
    for index, facts in enumerate(read):
        gallery, problem = reopened(facts, trust, registry)
        pages.append(RunPage(index, facts, gallery, problem))
    write_beside(path, render(pages))
    return path


def _place(runs: Sequence[str | Path], out: str | Path | None) -> Path:
    """Return the file; by its suffix a browser must know what it is."""
    path = given_path(out) if out is not None else (Path(runs[0]) if len(runs) == 1 else Path()) / NAME
    if path.is_dir():
        return path / NAME
    if path.suffix.lower() == ".pdf":
        page = path.with_suffix(".html")
        raise ConfigError(f"a report is HTML; give --out {page}, open it in a browser, and print it to a PDF there")
    if path.suffix.lower() not in ("", ".html", ".htm"):
        raise ConfigError(f"a report is HTML, and {path} says something else; give --out {path.with_suffix('.html')}")
    return path


def write_run_report(folder: Path, model: SSLModule, source: Source) -> Path:
    """Write the report of a run whose network and data are at hand, as training does at its end."""
    facts = read_facts(folder)
    write_beside(folder / NAME, render([RunPage(0, facts, build_gallery(model, source, seed=_seed(facts)))]))
    return folder / NAME


def reopened(facts: RunFacts, trust: bool, registry: Registry) -> tuple[Gallery | None, str]:
    """Return the pictures, or why there can be none: the rest of a report does not depend on them."""
    try:
        opened = open_run(facts.folder, trust=trust, registry=registry)
        model, source = opened.model, opened.open_data()
    except SSLRegistryError as error:
        return None, str(error)
    return build_gallery(model, source, seed=_seed(facts)), ""


def _seed(facts: RunFacts) -> int:
    return facts.settings.run.seed
