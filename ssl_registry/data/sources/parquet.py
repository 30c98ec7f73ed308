"""Local Parquet files."""

from __future__ import annotations

import json
from glob import glob
from pathlib import Path
from typing import Any

from ssl_registry._system.optional import require
from ssl_registry.data.arrays.table_files import TEST, TRAIN, UNLABELED
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.kinds import nearest_path, place_of
from ssl_registry.data.options import DataOptions
from ssl_registry.data.parts import split_paths
from ssl_registry.data.source import Source
from ssl_registry.data.sources.arrow import source_from_tables
from ssl_registry.data.sources.arrow_labels import ArrowFile
from ssl_registry.errors import DataError

__all__ = ["parquet", "read_parquet"]


def parquet(spec: str, options: DataOptions) -> Source:
    """Open ``x.parquet`` or ``folder/*.parquet``; files are parts by their names (see `ssl_registry.data.parts`).

    The files are read into memory; larger ones are a data set for the library `datasets`, which maps them.

    Args:
        spec: a path, with or without ``*``.
        options: how it is read.

    Raises:
        DataError: if there is no such file, or it cannot be read or used.
        MissingExtraError: if pyarrow is not installed.
    """
    require("pyarrow", "parquet", "a Parquet file")
    paths, told = _found(spec), Decisions()
    split = split_paths(paths)
    test = split.test
    if options.test_data is not None:
        told.left_out += [(path, "--data.test names another test part") for path in test]
        test = tuple(_found(options.test_data))
    told.left_out += [(path, "a second held-out part") for path in split.validation]
    files = [
        read_parquet(path, part)
        for part, chosen in ((TRAIN, split.train), (UNLABELED, split.unlabeled), (TEST, test))
        for path in chosen
    ]
    first = Path(paths[0])
    return source_from_tables(first.stem if len(paths) == 1 else _shared_folder(paths), files, options, told)


def _found(spec: str) -> list[str]:
    paths = sorted(glob(str(Path(spec).expanduser()), recursive=True))
    if not paths:
        near = nearest_path(Path(spec).expanduser())
        raise DataError(f"there is no file {place_of(spec)}; expected .parquet, such as 'data/*.parquet'.{near}")
    return paths


def _shared_folder(paths: list[str]) -> str:
    """Return the name of the folder that all files lie in or below."""
    first, *others = (Path(path).resolve().parents for path in paths)
    return next(folder.name for folder in first if all(folder in other for other in others))


def read_parquet(path: str, part: str) -> ArrowFile:
    """Read a file into memory.

    Raises:
        DataError: if it cannot be read.
    """
    reader = require("pyarrow.parquet", "parquet", "a Parquet file")
    if not Path(path).is_file():  # a pipe would keep its reader waiting for ever
        raise DataError(f"{path} is no regular file")
    try:
        table = reader.read_table(path, partitioning=None)
    except Exception as error:  # Arrow's errors have several bases
        reason = str(error).split("\n")[0]
        raise DataError(f"{path} cannot be read as Parquet ({type(error).__name__}: {reason})") from error
    return ArrowFile(table, path, part, _indices(table))


def _indices(table: Any) -> tuple[str, ...]:
    """Return the columns that pandas wrote as its index."""
    try:
        found = json.loads(table.schema.metadata[b"pandas"])["index_columns"]
    except (TypeError, KeyError, ValueError):  # written by something else
        return ()
    return tuple(name for name in found if isinstance(name, str))
