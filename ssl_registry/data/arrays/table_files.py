"""Files of a table: their columns by the names of the first one, the part of each row, and the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.labels import as_text
from ssl_registry.data.arrays.marks import parts_by_mark, parts_by_word
from ssl_registry.data.columns import IS_TEST, Roles, plain_name
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.samples import Origin
from ssl_registry.errors import DataError

__all__ = [
    "FOLDERS",
    "TEST",
    "TRAIN",
    "UNLABELED",
    "File",
    "labels_of_rows",
    "origin_of_rows",
    "parts_of_rows",
    "select_columns",
]

FOLDERS = "folders"  # instead of a column, where the classes are the names of folders
TRAIN, TEST, UNLABELED, UNUSED = "train", "test", "unlabeled", "unused"


@dataclass(frozen=True)
class File:
    """A table that was read from one file.

    Args:
        frame: a ``pandas.DataFrame``.
        path: of the file.
        part: ``train``, ``test`` or ``unlabeled``.
        indices: columns that the file itself marks as an index.
        first_row: number of the first row, for messages.
        label: the class of all of its rows, where a folder tells it.
    """

    frame: Any
    path: str
    part: str = TRAIN
    indices: tuple[str, ...] = ()
    first_row: int = 0
    label: str | None = None


def select_columns(file: File, names: Sequence[str], roles: Roles, told: Decisions) -> File:
    """Bring the columns of a file to the names of the first one; those that it alone has are left out.

    Raises:
        DataError: if a column is not there.
    """
    by_name = {str(column).strip(): column for column in file.frame.columns}
    wanted = [name for name in (*names, roles.part, roles.sample, roles.time) if name is not None]
    if missing := [name for name in wanted if str(name).strip() not in by_name]:
        raise DataError(
            f"{file.path} has no column {missing[0]!r}, which the training part has; it has: "
            f"{', '.join(map(str, file.frame.columns[:30]))}"
        )
    if roles.label not in (None, FOLDERS) and str(roles.label).strip() in by_name:
        wanted.append(roles.label)
    frame = file.frame.rename(columns={by_name[str(name).strip()]: name for name in wanted})
    known = {*map(str, (*wanted, *roles.features)), *(str(name) for name, _ in roles.left_out)}
    own = [str(name) for name in frame.columns if str(name) not in known]
    told.left_out += [(f"{file.path}: {name}", "the training part has no such column") for name in own]
    return replace(file, frame=frame)


def parts_of_rows(files: Sequence[File], roles: Roles, told: Decisions) -> tuple[NDArray[np.str_], Roles]:
    """Tell the part of each row; a column ``split`` whose values are no parts becomes a feature.

    Raises:
        DataError: if ``is_test`` holds something else than marks.
    """
    parts = np.concatenate([np.full(len(file.frame), file.part, "<U10") for file in files])
    if roles.part is None or not len(parts):
        return parts, roles
    values = joined(files, roles.part).to_numpy(object)
    if plain_name(roles.part) == IS_TEST:
        marks = parts_by_mark(values)
        if marks is None:
            raise DataError(
                f"{files[0].path}: column {roles.part!r} holds {', '.join(sorted({str(v) for v in values})[:5])}; "
                "expected 0 and 1, or true and false; if it is a feature, rename it"
            )
        parts[marks] = TEST
        return parts, roles
    words = parts_by_word(values)
    if words is None:
        order = [column for column in files[0].frame.columns if column in {*roles.features, roles.part}]
        return parts, replace(roles, part=None, features=tuple(order))
    held = "test" if (words == "test").any() else "validation"
    parts[words == "unlabeled"] = UNLABELED
    parts[np.isin(words, ("test", "validation"))] = UNUSED
    parts[words == held] = TEST
    if unused := int((parts == UNUSED).sum()):
        told.left_out.append((f"{roles.part}=validation", f"{unused} rows of a second held-out part"))
    return parts, roles


def labels_of_rows(
    files: Sequence[File], roles: Roles, parts: NDArray[np.str_]
) -> tuple[NDArray[Any] | None, NDArray[np.bool_]]:
    """Return the labels of all rows, or None, and which rows have one."""
    import pandas as pd

    known = parts != UNLABELED
    if roles.label == FOLDERS:
        names = [file.label or "" for file in files]
        words = np.repeat(np.array(names), [len(file.frame) for file in files])
        return words, known & (np.char.str_len(words) > 0)
    if roles.label is None or all(roles.label not in file.frame.columns for file in files):
        return None, known
    values = joined(files, roles.label)
    there = values.notna().to_numpy()
    known &= there
    kept = values[there]
    if kept.dtype == object:  # numbers beside gaps
        kept = kept.infer_objects()
    if pd.api.types.is_numeric_dtype(kept.dtype) or pd.api.types.is_bool_dtype(kept.dtype):
        numbers = kept.to_numpy(bool if pd.api.types.is_bool_dtype(kept.dtype) else None)
        whole = np.zeros(len(values), numbers.dtype)
        whole[there] = numbers
        return whole, known
    cells = [cell if isinstance(cell, bytes) else str(cell).strip().encode() for cell in kept.tolist()]
    words = np.full(len(values), b"", dtype=np.array(cells or [b""]).dtype)
    words[there] = cells
    text = as_text(words, f"{files[0].path}: {roles.label}")
    return text, known & (np.char.str_len(text) > 0)


def origin_of_rows(files: Sequence[File]) -> Origin:
    """Return the file and the number of each row."""
    counts = [len(file.frame) for file in files]
    return Origin(tuple(file.path for file in files), np.repeat(np.arange(len(files)), counts), np.arange(sum(counts)))


def joined(files: Sequence[File], name: str) -> Any:
    """Return a column of all files; rows of a file without it are empty."""
    import pandas as pd

    columns = [
        file.frame[name] if name in file.frame.columns else pd.Series([None] * len(file.frame), dtype=object)
        for file in files
    ]
    return columns[0].reset_index(drop=True) if len(columns) == 1 else pd.concat(columns, ignore_index=True)
