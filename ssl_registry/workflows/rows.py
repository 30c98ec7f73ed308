"""Every sample of a source as a row: in which order, and what a row tells beside what a network says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry._system.terminal import in_unicode
from ssl_registry.data import Source
from ssl_registry.data.options import ReadOptions
from ssl_registry.data.sample_set import SampleSet, content_hash
from ssl_registry.runs.opened import OpenedRun

__all__ = ["PLACES", "RowSet", "Rows", "open_rows", "stream_rows"]

PLACES = ("recording", "start")  # of a window


@dataclass(frozen=True)
class Rows:
    """Some rows.

    Args:
        columns: ``id``, ``path``, ``split``, ``label`` and, of windows, `PLACES`; a list each.
        outputs: [rows, width], what the network said.
    """

    columns: dict[str, list[Any]]
    outputs: Tensor


@dataclass(frozen=True)
class RowSet:
    """Samples in the order of their rows.

    Args:
        samples: of one part, or of both where they lie among each other.
        splits: ``train`` or ``test``, by the number of the part; None where nobody tells.
        part: of each sample, the number of its part; None: all are of the first.
    """

    samples: SampleSet
    splits: tuple[str | None, ...]
    part: NDArray[np.int8] | None = None

    def split(self, place: int) -> str | None:
        """Return which part a sample is in."""
        return self.splits[0 if self.part is None else int(self.part[place])]


class _Merged(SampleSet):
    """Both parts of a file or a folder, in its own order."""

    def __init__(self, parts: Sequence[SampleSet], rows: NDArray[np.int64]) -> None:
        lengths = [len(part) for part in parts]
        order = np.argsort(rows, kind="stable")
        self.parts, self.rows = parts, rows[order]
        self.part = np.repeat(np.arange(len(parts), dtype=np.int8), lengths)[order]
        self.place = np.concatenate([np.arange(length) for length in lengths])[order]
        self.decodes = any(part.decodes for part in parts)

    def _at(self, index: int) -> tuple[SampleSet, int]:
        return self.parts[self.part[index]], int(self.place[index])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        part, place = self._at(index)
        return part[place]

    @property
    def broken(self) -> dict[str, str]:
        return {name: why for part in self.parts for name, why in part.broken.items()}

    def name(self, index: int) -> str | None:
        part, place = self._at(index)
        return part.name(place)

    def row(self, index: int) -> int | None:
        return int(self.rows[index])

    def window(self, index: int) -> dict[str, Any]:
        part, place = self._at(index)
        return part.window(place)

    def fingerprint(self) -> str | None:
        found = [part.fingerprint() for part in self.parts]
        order = torch.from_numpy(np.stack([self.rows, self.part, self.place]))
        return None if None in found else content_hash([*found, order])


def open_rows(run: OpenedRun, data: str | Source | None, reading: ReadOptions) -> tuple[Source, list[RowSet]]:
    """Open a source for a row a sample.

    Of a run's own data the test part is what it held out; of other data nothing is held out.

    Args:
        run: whose network takes the samples.
        data, reading: see `OpenedRun.open_data`.

    Returns:
        The source, and its samples in the order of the file, or else the training part before the test part.
    """
    own = run.is_own(data)
    source = run.open_data(data, holdout=None if own else 0.0, **reading)
    parts = [part for part in (source.train, source.test) if part is not None]
    # Of other samples without parts nobody knows whether anything was trained on them.
    splits = ("train", "test") if own or source.test is not None else (None,)
    rows = [row for part in parts for i in range(len(part)) if (row := part.row(i)) is not None]
    order = np.array(rows, np.int64)
    if len(order) < sum(map(len, parts)) or bool((order[1:] >= order[:-1]).all()):
        return source, [RowSet(part, (split,)) for part, split in zip(parts, splits, strict=False)]
    merged = _Merged(parts, order)
    return source, [RowSet(merged, splits, merged.part)]


def stream_rows(
    stream: Iterator[tuple[Tensor, Tensor | None]], source: Source, rows_of: RowSet, start: int, first: int
) -> Iterator[Rows]:
    """Yield the rows of each batch, without the image files that cannot be read.

    Args:
        stream: outputs and labels of each batch, as `stream_features` gives them.
        source: whose classes name the labels.
        rows_of: the samples, from ``start`` on.
        start: place of the first sample in the dataset.
        first: its id, where the dataset does not tell the rows of a file.
    """
    at, dataset = start, rows_of.samples
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
            "split": [rows_of.split(places[i]) for i in kept],
            "label": [None] * len(kept) if labels is None else labels,
            **_places([dataset.window(places[i]) for i in kept]),
        }
        yield Rows(columns, vectors[kept])


def _places(found: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return recording and first moment of windows as columns."""
    return {name: [one[name] for one in found] for name in PLACES if found and name in found[0]}
