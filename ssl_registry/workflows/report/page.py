"""From facts and pictures to one HTML file that needs no other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ssl_registry._system.secrets import without_keys
from ssl_registry._version import __version__
from ssl_registry.workflows.report.gallery import DRAWS
from ssl_registry.workflows.report.panels import Panel, draw_panels
from ssl_registry.workflows.report.run_page import RunPage
from ssl_registry.workflows.report.seeds import over_seeds

__all__ = ["render"]

HERE = Path(__file__).parent
MOST_NAMED = 3  # runs in the title


def render(runs: Sequence[RunPage]) -> str:
    """Return the page.

    Args:
        runs: one, or several to stand side by side.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    galleries = [run for run in runs if run.gallery is not None]
    panels = draw_panels([run.facts for run in runs])
    groups = over_seeds([run.facts for run in runs])
    count = max((len(next(iter(run.gallery.maps.values()), [])) for run in galleries if run.gallery), default=0)
    return environment.get_template("template.html").render(
        title=_title([run.name for run in runs]),
        subtitle=_subtitle(runs),
        runs=runs,
        galleries=galleries,
        labeled=any(run.gallery and run.gallery.labels for run in galleries),
        mapped=f"{count} samples." if count else "",
        tile_names=list(dict.fromkeys(tile["name"] for run in runs for tile in run.tiles)),
        seed_groups=groups,
        seed_figures=list(dict.fromkeys(name for group in groups for name in group.cells)),
        panels=panels,
        draws=DRAWS,
        options=_options(runs),
        sprites=[sprite for run in galleries for sprite in _sprites(run)],
        version=__version__,
        payload=Markup(_json(_payload(runs, panels))),
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        js=Markup((HERE / "page.js").read_text(encoding="utf-8")),
    )


def _payload(runs: Sequence[RunPage], panels: Sequence[Panel]) -> dict[str, Any]:
    """Return what the page's script draws from."""
    panels_drawn = [_plain(panel) for panel in panels]
    return {"panels": panels_drawn, "maps": _maps(runs), "tokens": _tokens(runs), "confusions": _confusions(runs)}


def _confusions(runs: Sequence[RunPage]) -> list[dict[str, Any] | None]:
    """Return the cells that are not empty: [row, column, samples]."""
    found = [run.gallery.confusion if run.gallery else None for run in runs]
    return [
        None
        if one is None
        else {
            "classes": one.classes,
            "cells": [[i, j, count] for i, row in enumerate(one.counts) for j, count in enumerate(row) if count],
        }
        for one in found
    ]


def _title(names: Sequence[str]) -> str:
    """Return the names of the runs, of many the first ones.

    >>> _title(["a", "b", "c", "d", "e"])
    'a · b · c and 2 more'
    """
    more = len(names) - MOST_NAMED
    return " · ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _subtitle(runs: Sequence[RunPage]) -> str:
    settings = runs[0].facts.options
    if len(runs) > 1:
        return f"{len(runs)} runs side by side"
    # Of a file's function, or a folder of data, the last part tells enough here.
    told = (without_keys(str(settings.get(name))) for name in ("backbone", "data"))
    backbone, data = (text.rpartition("/")[2] or text for text in told)
    return f"{settings.get('method')} on {backbone}, trained on {data}"


def _options(runs: Sequence[RunPage]) -> list[dict[str, Any]]:
    """Rows of the configuration; `shown` tells those that somebody chose, or in which the runs differ."""
    names = dict.fromkeys(name for run in runs for name in run.facts.options)
    rows = []
    for name in names:
        values = [_words(run.facts.options.get(name)) for run in runs]
        origins = [run.facts.origins.get(name, "") for run in runs]
        shown = len(set(values)) > 1 if len(runs) > 1 else origins[0] != "default"
        rows.append({"name": name, "cells": values, "origins": origins, "shown": shown})
    return rows


def _words(value: Any) -> str:
    # A report is passed on: keys in addresses stay in the run's own files.
    return "–" if value is None else without_keys(json.dumps(value) if isinstance(value, dict | list) else str(value))


def _sprites(run: RunPage) -> list[dict[str, Any]]:
    if run.gallery is None:
        return []
    gallery, index = run.gallery, run.index
    named = {f"views{index}": gallery.views, f"thumbs{index}": gallery.thumbs}
    if gallery.reconstructions is not None:
        named[f"rebuilt{index}"] = gallery.reconstructions.pictures
    if gallery.token_maps is not None:
        named[f"tokens{index}"] = gallery.token_maps.pictures
    return [{"name": name, "sprite": sprite} for name, sprite in named.items()]


def _tokens(runs: Sequence[RunPage]) -> list[dict[str, Any] | None]:
    found = [run.gallery.token_maps if run.gallery else None for run in runs]
    return [None if maps is None else asdict(maps.tokens) for maps in found]


def _maps(runs: Sequence[RunPage]) -> list[dict[str, Any] | None]:
    return [
        {
            "points": gallery.maps,
            "labels": gallery.labels,
            "classes": gallery.classes,
            "columns": gallery.thumbs.columns,
            "width": gallery.thumbs.width,
            "tiny": not gallery.thumbs.smooth,
        }
        if (gallery := run.gallery) is not None
        else None
        for run in runs
    ]


def _plain(panel: Panel) -> dict[str, Any]:
    return {"title": panel.title, "lines": [vars(line) for line in panel.lines]}


def _json(value: Any) -> str:
    """Write JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
