"""Hugging Face data sets that lie on the disk: by name from the library's cache, or a folder that it saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_registry._system.optional import require
from ssl_registry.data.arrays.table_files import TEST, TRAIN, UNLABELED
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.options import DataOptions
from ssl_registry.data.parts import HELD_OUT, name_part
from ssl_registry.data.source import Source
from ssl_registry.data.sources.arrow import source_from_tables
from ssl_registry.data.sources.arrow_labels import ArrowFile, has_labels
from ssl_registry.errors import DataError

__all__ = ["choose_parts", "hugging_face"]


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
    parts = dict(found) if isinstance(found, dict) else {TRAIN: found}
    told = Decisions()
    files = choose_parts(name, {part: _table(split) for part, split in parts.items()}, options, told)
    last = name.rstrip("/").rpartition("/")[2]
    return source_from_tables(last, files, options, told)


def choose_parts(name: str, tables: dict[str, Any], options: DataOptions, told: Decisions) -> list[ArrowFile]:
    """Sort the splits into parts: of those held out, the first that has labels where the train part has some.

    Args:
        name: of the data set.
        tables: a ``pyarrow.Table`` for each split.
        options: ``test_data`` may name the test part.
        told: takes what is left out.

    Raises:
        DataError: if no split is the train part, or there is none of the user's name.
    """
    named = {split: name_part(split) for split in tables}
    train = [split for split, part in named.items() if part == "train"]
    if not train and len(tables) > 1:
        raise DataError(f"{name} has no part 'train'; it has: {', '.join(tables)}")
    train = train or list(tables)
    held = [split for part in HELD_OUT for split, found in named.items() if found == part and split not in train]
    if options.test_data is not None:
        if options.test_data not in tables:
            raise DataError(
                f"{name} has no part {options.test_data!r}, which --data.test names; it has: {', '.join(tables)}"
            )
        held = [options.test_data]
        train = [split for split in train if split != options.test_data]
    elif any(has_labels(tables[split], options, split) for split in train):
        held.sort(key=lambda split: not has_labels(tables[split], options, split))
    test, unlabeled = held[:1], [split for split, part in named.items() if part == "unlabeled" and split not in train]
    used = [*train, *unlabeled, *test]
    told.left_out += [(split, f"a part of {len(tables[split]):,} samples") for split in tables if split not in used]
    chosen = ((TRAIN, train), (UNLABELED, unlabeled), (TEST, test))
    return [ArrowFile(tables[split], f"{name}: {split}", part) for part, splits in chosen for split in splits]


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
    import pyarrow as pa

    if part._indices is not None:  # rows were chosen or shuffled without moving them
        part = part.flatten_indices()
    table = part.data.table
    for number, field in enumerate(table.schema):
        if hasattr(field.type, "storage_type"):  # Array2D to Array5D: lists within lists
            chunks = [chunk.storage for chunk in table.column(number).chunks]
            table = table.set_column(number, field.name, pa.chunked_array(chunks, field.type.storage_type))
    return table
