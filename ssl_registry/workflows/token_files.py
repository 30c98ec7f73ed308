"""Files of patch tokens and of vectors: pieces of one row a sample, joined as one row a patch or as one array (npz)."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry._system.atomic import whole_file

__all__ = ["AXES", "join_as_array", "join_as_rows"]

# Names of a token's place, by the number of axes of the grid.
AXES = {1: ("step",), 2: ("row", "column")}
COUNTED = ("id", "start", "windows")
ARRAYS = {"id": "ids", "path": "paths", "split": "splits", "label": "labels"}  # what columns are called as arrays


def join_as_rows(pieces: Sequence[Path], target: Path, grid: Sequence[int]) -> int:
    """Write a row for each token of each sample, one piece in memory at a time, whole or not at all.

    Args:
        pieces: Parquet files with a column ``vector``, the tokens of a sample one after the other.
        target: the file: the pieces' other columns, then ``row`` and ``column`` or ``step``, and ``features``.
        grid: (rows, columns) or (steps,) of the tokens.

    Returns:
        The number of samples.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = math.prod(grid)
    places = dict(zip(AXES[len(grid)], np.indices(grid).reshape(len(grid), -1), strict=True))
    samples = 0
    with whole_file(target) as file:
        writer: Any = None
        for table in map(pq.read_table, pieces):
            vectors = table["vector"].combine_chunks()
            every = pa.array(np.repeat(np.arange(len(table)), count))
            columns = {name: table[name].take(every) for name in table.column_names if name != "vector"}
            columns |= {name: pa.array(np.tile(where, len(table)), pa.int32()) for name, where in places.items()}
            columns["features"] = pa.FixedSizeListArray.from_arrays(vectors.flatten(), vectors.type.list_size // count)
            rows = pa.table(columns)
            writer = writer or pq.ParquetWriter(file, rows.schema)
            writer.write_table(rows)
            samples += len(table)
        writer.close()
    return samples


def join_as_array(pieces: Sequence[Path], target: Path, grid: Sequence[int]) -> int:
    """Write ``features`` [N, P, D] and what else is known as arrays of an npz, one piece in memory at a time.

    Args:
        pieces: as in `join_as_rows`.
        target: the file, which ``numpy.load`` reads without pickle: ``features`` float32, ``grid``, ``ids`` int64,
            ``paths``, ``splits`` and ``labels`` as text, empty where there is none; of windows ``start`` and
            ``recording``, of recordings ``windows``.
        grid: as in `join_as_rows`; empty of vectors, which are ``vectors`` [N, D], without ``grid``.

    Returns:
        The number of samples.
    """
    import pyarrow.parquet as pq

    count = math.prod(grid)
    files = [pq.ParquetFile(piece) for piece in pieces]
    samples: int = sum(file.metadata.num_rows for file in files)
    width = files[0].schema_arrow.field("vector").type.list_size // count
    others = [name for name in files[0].schema_arrow.names if name != "vector"]
    for file in files:
        file.close()
    with whole_file(target) as out, zipfile.ZipFile(out, "w") as archive:
        with _entry(archive, "features" if grid else "vectors") as entry:
            sizes = (samples, count, width) if grid else (samples, width)
            shape = {"descr": "<f4", "fortran_order": False, "shape": sizes}
            np.lib.format.write_array_header_2_0(entry, shape)
            for piece in pieces:
                vectors = pq.read_table(piece, columns=["vector"])["vector"].combine_chunks().flatten()
                numbers: Any = np.ascontiguousarray(vectors.to_numpy(), "<f4")
                entry.write(numbers.data.cast("B"))  # without a copy
        arrays: dict[str, NDArray[Any]] = {"grid": np.array(grid, np.int64)} if grid else {}
        for name in others:
            values = [value for piece in pieces for value in pq.read_table(piece, columns=[name])[name].to_pylist()]
            counted = name in COUNTED
            texts = [value or "" for value in values]
            arrays[ARRAYS.get(name, name)] = np.array(values, np.int64) if counted else np.array(texts, np.str_)
        for name, array in arrays.items():
            with _entry(archive, name) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return samples


@contextmanager
def _entry(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    """Open an array of an npz for writing: without a time of day, so that the same content is the same file."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
        yield entry
