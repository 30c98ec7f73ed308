"""Local Parquet files."""

from __future__ import annotations

from glob import glob
from pathlib import Path
from typing import Any

from ssl_registry._system.optional import require
from ssl_registry.data.images.listing import by_part
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.data.sources.arrow import source_from_tables
from ssl_registry.errors import DataError

__all__ = ["parquet"]


def parquet(spec: str, options: DataOptions) -> Source:
    """Open ``x.parquet`` or ``folder/*.parquet``; files called train... and test... (or val...) are the parts.

    The files are read into memory; larger ones are a data set for the library `datasets`, which maps them.

    Args:
        spec: a path, with or without ``*``.
        options: how it is read.

    Raises:
        DataError: if there is no such file, or it cannot be read or used.
        MissingExtraError: if pyarrow is not installed.
    """
    library = require("pyarrow", "parquet", "a Parquet file")
    reader = require("pyarrow.parquet", "parquet", "a Parquet file")
    paths = [Path(path) for path in sorted(glob(str(Path(spec).expanduser())))]
    if not paths:
        raise DataError(f"there is no file {spec!r} in {Path.cwd()}; expected .parquet, such as 'data/*.parquet'")

    def read(part: list[Path]) -> Any:
        tables = []
        for path in part:
            if not path.is_file():  # a pipe would keep its reader waiting for ever
                raise DataError(f"{path} is no regular file")
            try:
                tables.append(reader.read_table(path))
            except Exception as error:  # Arrow's errors have several bases
                reason = str(error).split("\n")[0]
                raise DataError(f"{path} cannot be read as Parquet ({type(error).__name__}: {reason})") from error
        try:
            return library.concat_tables(tables)
        except library.ArrowInvalid as error:
            raise DataError(f"the files of {spec} have different columns ({str(error).split(chr(10))[0]})") from error

    train, test = by_part(paths)
    name = paths[0].stem if len(paths) == 1 else paths[0].resolve().parent.name
    return source_from_tables(name, read(train), read(test) if test else None, options)
