"""Hugging Face data sets that lie on the disk: by name from the library's cache, or a folder that it saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_registry._system.optional import require
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import TEST_PARTS, TRAIN_PART, Source
from ssl_registry.data.sources.arrow import source_from_tables
from ssl_registry.errors import DataError

__all__ = ["hugging_face"]


def hugging_face(name: str, options: DataOptions) -> Source:
    """Open a data set of the library `datasets`. Nothing is downloaded.

    Args:
        name: as on the Hub, such as ``ylecun/mnist``, for one that was loaded on this machine before; or a folder that
            ``save_to_disk`` wrote, or that holds data files.
        options: how it is read.

    Raises:
        DataError: if it is not on the disk, or has no column to train on.
        MissingExtraError: if the library is not installed.
    """
    library = require("datasets", "datasets", f"hf:{name}")
    folder = Path(name).expanduser()
    saved = any((folder / file).is_file() for file in ("dataset_dict.json", "dataset_info.json", "state.json"))
    with _offline(library):
        try:
            found = library.load_from_disk(str(folder)) if saved else library.load_dataset(name)
        except Exception as error:  # the library raises what the file system, Arrow and the Hub raise
            reason = str(error).strip().split("\n")[0]
            raise DataError(
                f"the data set {name!r} is not on this disk, or cannot be read ({reason}). Nothing is downloaded here; "
                f"fetch it once with: python -c \"import datasets; datasets.load_dataset('{name}')\""
            ) from error
    parts = dict(found) if isinstance(found, dict) else {TRAIN_PART: found}
    if TRAIN_PART not in parts and len(parts) > 1:
        raise DataError(f"{name} has no part {TRAIN_PART!r}; it has: {', '.join(parts)}")
    train = parts[TRAIN_PART] if TRAIN_PART in parts else next(iter(parts.values()))
    test = next((parts[part] for part in TEST_PARTS if part in parts and parts[part] is not train), None)
    last = name.rstrip("/").rpartition("/")[2]
    return source_from_tables(last, _table(train), None if test is None else _table(test), options)


@contextmanager
def _offline(library: Any) -> Iterator[None]:
    before = library.config.HF_HUB_OFFLINE
    library.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        library.config.HF_HUB_OFFLINE = before


def _table(part: Any) -> Any:
    """Return the Arrow table below a part, which the library maps from the disk."""
    if part._indices is not None:  # rows were chosen or shuffled without moving them
        part = part.flatten_indices()
    return part.data.table
