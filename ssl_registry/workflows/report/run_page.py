"""One run, in the words and figures that the template shows."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ssl_registry._system.secrets import without_keys
from ssl_registry.workflows.report.facts import RunFacts
from ssl_registry.workflows.report.gallery import Gallery
from ssl_registry.workflows.report.thumbnails import Sprite
from ssl_registry.workflows.report.verdict_of_run import verdict_of_run

__all__ = ["RunPage"]

# Pixels on the screen of a picture of a view, and of a neighbour; tiny images are enlarged to about that.
VIEW_WIDTH, THUMB_WIDTH = 64, 56
# Of one whose patches are looked at: two rows of three stand side by side in a half of the page.
PATCHES_WIDTH = 76
# Pixels of a half of the page, which rows of waves fill, and the largest that one is shown.
HALF_WIDTH, WAVE_WIDTH, GAP = 520, 120, 9
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
        """What it is called on the page."""
        return self.facts.name

    @property
    def color(self) -> int:
        """Number of its colour in ``page.css``."""
        return self.index % 8

    @property
    def alarm(self) -> str | None:
        """What the guard said."""
        return self.facts.results.guard

    @property
    def verdict(self) -> str:
        """What the figures say, in a sentence or two; empty while the run has not ended."""
        return "" if self.facts.results.steps is None else verdict_of_run(self.facts)

    @property
    def versions(self) -> dict[str, str]:
        """Of what trained it."""
        return dict(self.facts.results.versions)

    @property
    def again(self) -> str:
        """The command that repeats the run."""
        method = self.facts.settings.method or "METHOD"
        config = str(self.facts.folder / "config.yaml")
        return shlex.join(["ssl-registry", "train", method, "--config", config, "--out", f"{self.facts.folder}-again"])

    @property
    def command(self) -> str | None:
        """The command that started it; None for a run that was started from Python."""
        words = self.facts.results.command
        is_ours = len(words) > 1 and words[1] == "train"
        return without_keys(shlex.join(["ssl-registry", *words[1:]])) if is_ours else None

    @cached_property
    def tiles(self) -> list[dict[str, str | None]]:
        """The figures at the top: name, value, and what it was before training."""
        results = self.facts.results
        rate = [value for _, value in self.facts.curves.get("samples_per_second", [])]
        rank = self.facts.curves.get("rank", [])
        found = {
            "k-NN accuracy": _percent(_latest(results.knn)),
            "linear probe": _percent(_latest(results.linear)),
            "on raw input (k-NN)": _percent(results.knn.get("pixels")),
            "on raw input (linear)": _percent(results.linear.get("pixels")),
            "effective rank": f"{rank[-1][1]:.1f}" if rank else None,
            "optimizer steps": None if results.steps is None else f"{results.steps:,}",
            "training time": None if results.seconds is None else _duration(results.seconds),
            "samples a second": f"{sorted(rate)[len(rate) // 2]:,.0f}" if rate else None,
        }
        before = {
            "k-NN accuracy": _percent(_before(results.knn)),
            "linear probe": _percent(_before(results.linear)),
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
        if self.gallery is None:
            return 1.0
        return _scale(self.gallery.views, self._width(VIEW_WIDTH, self.gallery.view_columns))

    @property
    def thumb_scale(self) -> float:
        """Screen pixels per pixel of a neighbour's picture."""
        if self.gallery is None:
            return 1.0
        columns = max(map(len, self.gallery.neighbours), default=1)
        return _scale(self.gallery.thumbs, self._width(THUMB_WIDTH, columns))

    def _width(self, of_images: int, columns: int) -> int:
        """Waves and bars are as wide as a row of them has room."""
        if self.gallery is None or not self.gallery.told:
            return of_images
        return min(WAVE_WIDTH, max(of_images, HALF_WIDTH // columns - GAP))

    @property
    def rebuilt_scale(self) -> float:
        """Screen pixels per pixel of a reconstruction's picture."""
        found = self.gallery.reconstructions if self.gallery else None
        return _scale(found.pictures, self._width(PATCHES_WIDTH, 3)) if found else 1.0

    @property
    def token_scale(self) -> float:
        """Screen pixels per pixel of a picture whose patches can be chosen."""
        found = self.gallery.token_maps if self.gallery else None
        return _scale(found.pictures, PATCHES_WIDTH) if found else 1.0

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


def _latest(values: dict[str, float]) -> float | None:
    return values.get("trained", _before(values))


def _before(values: dict[str, float]) -> float | None:
    """Return the figure of the backbone as training began with it."""
    return values.get("start", values.get("untrained"))


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.1f} min" if minutes >= 1 else f"{seconds:.0f} s"


def _scale(sprite: Sprite, width: int) -> float:
    """Whole factors for tiny images, whose pixels are seen."""
    factor = width / sprite.width
    return round(factor, 3) if sprite.smooth else max(1, round(factor))
