"""From facts and pictures to one HTML file that needs no other."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ssl_registry import __version__
from ssl_registry.report.facts import RunFacts
from ssl_registry.report.gallery import DRAWS, Gallery
from ssl_registry.report.panels import Panel, draw_panels
from ssl_registry.report.thumbnails import Sprite

__all__ = ["RunPage", "render"]

HERE = Path(__file__).parent
# Pixels on the screen of a picture of a view, and of a neighbour; tiny images are enlarged to about that.
VIEW_WIDTH, THUMB_WIDTH = 64, 56
CONFUSED = 15


@dataclass(frozen=True)
class RunPage:
    """One run as the template wants it.

    Args:
        index: of the run on the page.
        facts: of its folder.
        gallery: its pictures; None if there are none.
        no_pictures: why there are none.
    """

    index: int
    facts: RunFacts
    gallery: Gallery | None
    no_pictures: str = ""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.facts.name

    @property
    def colour(self) -> int:
        """Number of its colour in ``page.css``."""
        return self.index % 8

    @property
    def alarm(self) -> str | None:
        """What the guard said."""
        return self.facts.results.get("guard")

    @property
    def versions(self) -> dict[str, str]:
        """Of what trained it."""
        return dict(self.facts.results.get("versions", {}))

    @property
    def again(self) -> str:
        """The command that repeats the run."""
        method = str(self.facts.settings.get("method", "METHOD"))
        config = str(self.facts.folder / "config.yaml")
        return shlex.join(["ssl-registry", "train", method, "--config", config, "--out", f"{self.facts.folder}-again"])

    @property
    def command(self) -> str | None:
        """The command that started it; None for a run that was started from Python."""
        words = self.facts.results.get("command") or []
        is_ours = len(words) > 1 and words[1] == "train"
        return shlex.join(["ssl-registry", *words[1:]]) if is_ours else None

    @cached_property
    def tiles(self) -> list[dict[str, str | None]]:
        """The figures at the top: name, value, and what it was before training."""
        results = self.facts.results
        rate = [value for _, value in self.facts.curves.get("samples_per_second", [])]
        rank = self.facts.curves.get("rank", [])
        found = {
            "k-NN accuracy": _percent(_latest(results.get("knn", {}))),
            "linear probe": _percent(_latest(results.get("linear", {}))),
            "on raw input (k-NN)": _percent(results.get("knn", {}).get("pixels")),
            "effective rank": f"{rank[-1][1]:.1f}" if rank else None,
            "optimizer steps": f"{results['steps']:,}" if "steps" in results else None,
            "training time": _duration(results["seconds"]) if "seconds" in results else None,
            "samples a second": f"{sorted(rate)[len(rate) // 2]:,.0f}" if rate else None,
        }
        before = {
            "k-NN accuracy": _percent(results.get("knn", {}).get("untrained")),
            "linear probe": _percent(results.get("linear", {}).get("untrained")),
        }
        return [{"name": name, "value": value, "before": before.get(name)} for name, value in found.items() if value]

    def tile(self, name: str) -> str:
        """Return the figure of this name, or a dash."""
        found = {tile["name"]: tile for tile in self.tiles}.get(name)
        if found is None:
            return "–"
        return f"{found['value']} (before: {found['before']})" if found["before"] else str(found["value"])

    @property
    def view_scale(self) -> float:
        """Screen pixels per pixel of a view's picture."""
        return _scale(self.gallery.views, VIEW_WIDTH) if self.gallery else 1.0

    @property
    def thumb_scale(self) -> float:
        """Screen pixels per pixel of a neighbour's picture."""
        return _scale(self.gallery.thumbs, THUMB_WIDTH) if self.gallery else 1.0

    @property
    def confused(self) -> list[dict[str, Any]]:
        """The pairs of classes that the probe takes for each other most often."""
        confusion = self.gallery.confusion if self.gallery else None
        if confusion is None:
            return []
        pairs = [
            (count, confusion.classes[i], confusion.classes[j])
            for i, row in enumerate(confusion.counts)
            for j, count in enumerate(row)
            if i != j and count
        ]
        worst = sorted(pairs, reverse=True)[:CONFUSED]
        return [{"true": true, "taken": taken, "count": count} for count, true, taken in worst]


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
    count = max((len(next(iter(run.gallery.maps.values()), [])) for run in galleries if run.gallery), default=0)
    return environment.get_template("template.html").render(
        title=runs[0].name if len(runs) == 1 else " · ".join(run.name for run in runs),
        subtitle=_subtitle(runs),
        runs=runs,
        galleries=galleries,
        labelled=any(run.gallery and run.gallery.labels for run in galleries),
        mapped=f"{count} samples." if count else "",
        tile_names=list(dict.fromkeys(tile["name"] for run in runs for tile in run.tiles)),
        panels=panels,
        draws=DRAWS,
        options=_options(runs),
        sprites=[sprite for run in galleries for sprite in _sprites(run)],
        version=__version__,
        payload=Markup(_json({"panels": [_plain(panel) for panel in panels], "maps": _maps(runs)})),
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        js=Markup((HERE / "page.js").read_text(encoding="utf-8")),
    )


def _subtitle(runs: Sequence[RunPage]) -> str:
    settings = runs[0].facts.settings
    if len(runs) > 1:
        return f"{len(runs)} runs side by side"
    # Of a file's function, or a folder of data, the last part tells enough here.
    backbone, data = (str(settings.get(name)).rpartition("/")[2] or settings.get(name) for name in ("backbone", "data"))
    return f"{settings.get('method')} on {backbone}, trained on {data}"


def _options(runs: Sequence[RunPage]) -> list[dict[str, Any]]:
    """Rows of the configuration; `shown` tells those that somebody chose, or in which the runs differ."""
    names = dict.fromkeys(name for run in runs for name in run.facts.settings)
    rows = []
    for name in names:
        values = [_words(run.facts.settings.get(name)) for run in runs]
        origins = [run.facts.origins.get(name, "") for run in runs]
        shown = len(set(values)) > 1 if len(runs) > 1 else origins[0] != "default"
        rows.append({"name": name, "cells": values, "origins": origins, "shown": shown})
    return rows


def _words(value: Any) -> str:
    return "–" if value is None else json.dumps(value) if isinstance(value, dict | list) else str(value)


def _latest(values: dict[str, float]) -> float | None:
    return values.get("trained", values.get("untrained"))


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.1f} min" if minutes >= 1 else f"{seconds:.0f} s"


def _scale(sprite: Sprite, width: int) -> float:
    """Whole factors for tiny images, whose pixels are seen."""
    factor = width / sprite.width
    return round(factor, 3) if sprite.smooth else max(1, round(factor))


def _sprites(run: RunPage) -> list[dict[str, Any]]:
    if run.gallery is None:
        return []
    named = {f"views{run.index}": run.gallery.views, f"thumbs{run.index}": run.gallery.thumbs}
    return [{"name": name, "sprite": sprite} for name, sprite in named.items()]


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
