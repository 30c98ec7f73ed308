"""Every sample of a source as a row: in which order, and what a row tells beside what a network says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ssl_registry._system.terminal import in_unicode
from ssl_registry.data import Source
from ssl_registry.data.sample_set import SampleSet, content_hash

__all__ = ["PLACES", "Rows", "in_order", "stream_rows"]

PLACES = ("recording", "start")  # of a window


@dataclass(frozen=True)
class Rows:
    """Some rows.

    Args:
        columns: ``id``, ``path``, ``label`` and, of windows, `PLACES`; a list each.
        outputs: [rows, width], what the network said.
    """

    columns: dict[str, list[Any]]
    outputs: Tensor


class _FileOrder(SampleSet):
    """Both parts of a file, in the order of its rows."""

    def __init__(self, parts: Sequence[SampleSet], order: Sequence[tuple[int, int, int]]) -> None:
        self.parts, self.order = parts, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Any:
        _, part, place = self.order[index]
        return self.parts[part][place]

    def name(self, index: int) -> str | None:
        _, part, place = self.order[index]
        return self.parts[part].name(place)

    def row(self, index: int) -> int | None:
        return self.order[index][0]

    def window(self, index: int) -> dict[str, Any]:
        _, part, place = self.order[index]
        return self.parts[part].window(place)

    def fingerprint(self) -> str | None:
        found = [part.fingerprint() for part in self.parts]
        return None if None in found else content_hash([*found, *map(str, self.order)])


def in_order(parts: list[SampleSet]) -> list[SampleSet]:
    """Return the parts, or both as one set where the rows of a file are in either."""
    order = [(row, n, i) for n, part in enumerate(parts) for i in range(len(part)) if (row := part.row(i)) is not None]
    if len(order) < sum(map(len, parts)) or order == sorted(order):
        return parts
    return [_FileOrder(parts, sorted(order))]


def stream_rows(
    stream: Iterator[tuple[Tensor, Tensor | None]], source: Source, dataset: SampleSet, start: int, first: int
) -> Iterator[Rows]:
    """Yield the rows of each batch, without the image files that cannot be read.

    Args:
        stream: outputs and labels of each batch, as `stream_features` gives them.
        source: whose classes name the labels.
        dataset: the samples, from ``start`` on.
        start: place of the first sample in the dataset.
        first: its id, where the dataset does not tell the rows of a file.
    """
    at = start
    for vectors, y in stream:
        places = range(at, at + len(vectors))
        at += len(vectors)
        names = [dataset.name(place) for place in places]
        broken = dataset.broken
        kept = [i for i, name in enumerate(names) if name not in broken]
        labels = None
        if y is not None and source.classes is not None:
            labels = [source.classes[int(y[i])] if y[i] >= 0 else None for i in kept]
        rows = [dataset.row(place) for place in places]
        columns = {
            "id": [first + places[i] - start if rows[i] is None else rows[i] for i in kept],
            "path": [None if (name := names[i]) is None else in_unicode(name) for i in kept],
            "label": [None] * len(kept) if labels is None else labels,
            **_places([dataset.window(places[i]) for i in kept]),
        }
        yield Rows(columns, vectors[kept])


def _places(found: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return recording and first moment of windows as columns."""
    return {name: [one[name] for one in found] for name in PLACES if found and name in found[0]}
