"""Arrow tables of several files: the label of each row, with classes numbered alike in all files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.labels import known_labels
from ssl_registry.data.arrays.table_files import TRAIN, UNLABELED, File, labels_of_rows, parts_of_rows
from ssl_registry.data.columns import Roles, read_roles
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.options import DataOptions
from ssl_registry.errors import DataError

__all__ = ["ArrowFile", "class_names", "has_labels", "read_labels", "renumbered"]


@dataclass(frozen=True)
class ArrowFile:
    """A table and where it came from.

    Args:
        table: a ``pyarrow.Table``.
        path: of the file, or the name of the part.
        part: ``train``, ``test`` or ``unlabeled``.
        indices: columns that the file itself marks as an index.
    """

    table: Any
    path: str
    part: str = TRAIN
    indices: tuple[str, ...] = ()


def has_labels(table: Any, options: DataOptions, where: str) -> bool:
    """Whether any row of a table has a label."""
    roles = read_roles(table.column_names, options, where=where)
    names = class_names(table, roles.label)
    _, y, known = read_labels([ArrowFile(table, where)], replace(roles, part=None), names, Decisions())
    return y is not None and bool(known.any())


def read_labels(
    files: Sequence[ArrowFile], roles: Roles, names: Sequence[str] | None, told: Decisions
) -> tuple[NDArray[np.str_], NDArray[Any] | None, NDArray[np.bool_]]:
    """Return part, label and whether there is one, of the rows of all files.

    Args:
        files: all of them, in order.
        roles: of their columns.
        names: of the classes by number, where the data have them.
        told: takes what is left out.

    Raises:
        DataError: if a file has not the column that tells the parts.
    """
    import pandas as pd

    frames = []
    for file in files:
        there = [name for name in (roles.label, roles.part) if name is not None and name in file.table.column_names]
        frame = pd.DataFrame({name: file.table[name].to_pandas() for name in there}, index=range(len(file.table)))
        if roles.part is not None and roles.part not in there:
            raise DataError(f"{file.path} has no column {roles.part!r}, which the training part has")
        frames.append(File(frame, file.path, file.part))
    frames = renumbered(frames, files, roles, names)
    parts, _ = parts_of_rows(frames, roles, told)
    if not np.isin(parts, (TRAIN, UNLABELED)).any():
        parts[:] = TRAIN
        told.more.append("all rows are marked as test: read as one part")
    y, known = labels_of_rows(frames, roles, parts)
    if y is not None:
        known &= known_labels([y], named=names is not None)[0]
    return parts, y, known


def renumbered(
    frames: Sequence[File], files: Sequence[ArrowFile], roles: Roles, names: Sequence[str] | None
) -> list[File]:
    """Bring the classes' numbers of each file to those of the first, by their names.

    Args:
        frames: the files as pandas has them.
        files: the same as Arrow tables, which tell the names.
        roles: of their columns.
        names: of the first one's classes.

    Raises:
        DataError: for a class that the first one has not.
    """
    out = []
    for frame, file in zip(frames, files, strict=True):
        own = class_names(file.table, roles.label)
        if names is not None and own is not None and own != list(names):
            if unknown := [name for name in own if name not in names]:
                raise DataError(
                    f"{file.path} has the class {unknown[0]!r}, the training part has not; it has: "
                    f"{', '.join(list(names)[:20])}"
                )
            numbers = {number: names.index(name) for number, name in enumerate(own)}
            changed = frame.frame.copy()
            changed[roles.label] = changed[roles.label].map(lambda number, to=numbers: to.get(number, number))
            frame = File(changed, frame.path, frame.part, frame.indices, frame.first_row)
        out.append(frame)
    return out


def class_names(table: Any, label: str | None) -> list[str] | None:
    """Return the names that the library `datasets` writes into a table's schema."""
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        found = features[label]["names"]
    except (TypeError, KeyError, ValueError):  # written by something else, or a label without names
        return None
    return [str(name) for name in found]
