"""Files of vectors: pieces of a row a sample, joined as Parquet or CSV, or averaged over the windows of a recording."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry._system.atomic import whole_file
from ssl_registry.errors import DataError

__all__ = ["average_windows", "join_as_csv", "join_as_parquet"]

# Numbers that are written as text at a time: 64 MB of them.
CSV_VALUES = 2**24


@dataclass
class _Recording:
    """The sum of the vectors of a recording's windows, and what they share."""

    total: NDArray[np.float64]
    path: str | None
    name: str | None
    split: str | None
    labels: set[str | None] = field(default_factory=set)
    windows: int = 0


def average_windows(pieces: Sequence[Path], target: Path) -> int:
    """Write a row for each recording, the mean of its windows, in the order in which their first windows stand.

    Memory grows with the recordings, not with their windows. A signal that was not cut is one recording of one window.

    Args:
        pieces: Parquet files with a row a sample: ``path``, ``split``, ``label``, ``vector`` and, of windows, ``start``
            and ``recording``.
        target: the file: ``id`` (counted from 0), ``path``, ``recording`` where the pieces have it, ``split``,
            ``label`` (the class that all of its windows have, else null), ``windows`` (how many) and ``vector``.

    Returns:
        The number of windows.

    Raises:
        DataError: if windows tell neither a file nor a recording.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[Hashable, _Recording] = {}
    names: list[str] = []
    for table in map(pq.read_table, pieces):
        names = table.column_names
        vectors = _matrix(table["vector"])
        facts = table.drop_columns("vector").to_pylist()
        for row, vector in zip(facts, vectors, strict=True):
            one = found.setdefault(_recording(row), _new(row, len(vector)))
            one.total += vector
            one.labels.add(row["label"])
            one.windows += 1
    every = list(found.values())
    mean = np.stack([one.total / one.windows for one in every]).astype(np.float32)
    columns = {
        "id": pa.array(range(len(every)), pa.int64()),
        "path": pa.array([one.path for one in every], pa.string()),
        "recording": pa.array([one.name for one in every], pa.string()),
        "split": pa.array([one.split for one in every], pa.string()),
        "label": pa.array([next(iter(one.labels)) if len(one.labels) == 1 else None for one in every], pa.string()),
        "windows": pa.array([one.windows for one in every], pa.int64()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(mean.reshape(-1)), mean.shape[1]),
    }
    if "recording" not in names:
        del columns["recording"]
    with whole_file(target) as file:
        pq.write_table(pa.table(columns), file)
    return sum(one.windows for one in every)


def join_as_parquet(pieces: Sequence[Path], target: Path) -> int:
    """Copy the pieces into one file, one at a time, and return its rows."""
    import pyarrow.parquet as pq

    with whole_file(target) as file, pq.ParquetWriter(file, pq.read_schema(pieces[0])) as writer:
        rows = 0
        for table in map(pq.read_table, pieces):
            writer.write_table(table)
            rows += table.num_rows
    return rows


def join_as_csv(pieces: Sequence[Path], target: Path) -> int:
    """Write a line for each row, with the columns ``v0``, ``v1``, ... in the place of ``vector``; return the rows."""
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    with whole_file(target) as file:
        writer: Any = None
        rows = 0
        for table in map(pq.read_table, pieces):
            for part in _flat(table):
                writer = writer or csv.CSVWriter(file, part.schema)
                writer.write_table(part)
            rows += table.num_rows
        writer.close()
    return rows


def _recording(row: dict[str, Any]) -> Hashable:
    """Return what tells a recording apart from others."""
    if "start" not in row:  # not cut: each is one
        return int(row["id"])
    key = (row["path"], row.get("recording"))
    if key == (None, None):
        raise DataError("these windows tell neither a file nor a recording; leave --by recording out")
    return key


def _new(row: dict[str, Any], width: int) -> _Recording:
    return _Recording(np.zeros(width), row["path"], row.get("recording"), row["split"])


def _matrix(vectors: Any) -> NDArray[np.float32]:
    """Return a column of lists of one length as [rows, width]."""
    lists = vectors.combine_chunks()
    flat: NDArray[np.float32] = lists.flatten().to_numpy()
    return flat.reshape(len(lists), lists.type.list_size)


def _flat(table: Any) -> Iterator[Any]:
    """Yield a table's rows, some at a time, with a column for each number of ``vector``."""
    import pyarrow as pa

    step = max(1, CSV_VALUES // table.schema.field("vector").type.list_size)
    for start in range(0, table.num_rows, step):
        part = table.slice(start, step)
        numbers = np.ascontiguousarray(_matrix(part["vector"]).T)
        columns = {name: part[name] for name in part.column_names if name != "vector"}
        yield pa.table({**columns, **{f"v{n}": pa.array(column) for n, column in enumerate(numbers)}})
