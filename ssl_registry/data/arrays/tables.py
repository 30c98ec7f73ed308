"""Tables of pandas become a `Source`: columns of numbers, words, booleans, dates and gaps become features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.encoding import encode_columns, fit_column
from ssl_registry.data.arrays.memory import Part, choose_held_out, source_in_memory
from ssl_registry.data.arrays.moments import read_signals
from ssl_registry.data.arrays.table_files import (
    TEST,
    TRAIN,
    UNLABELED,
    File,
    joined,
    labels_of_rows,
    origin_of_rows,
    parts_of_rows,
    select_columns,
)
from ssl_registry.data.columns import Roles, read_roles
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.options import DataOptions
from ssl_registry.data.samples import Origin
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError
from ssl_registry.views.columns import TableColumns

__all__ = ["source_from_files"]


def source_from_files(
    name: str,
    files: Sequence[File],
    options: DataOptions,
    *,
    class_names: Sequence[str] | None = None,
    told: Decisions | None = None,
) -> Source:
    """Open tables.

    The columns of the first file to train on select those of all others, by name. What is fitted on the training part
    (categories, medians) is the source's `columns`. Where the options bring that of a run it is applied, and nothing is
    fitted.

    Args:
        name: of the source.
        files: all of them, in order.
        options: how they are read.
        class_names: names of the classes by number, where the data have them.
        told: what was decided before.

    Raises:
        DataError: naming file and column.
    """
    told = told or Decisions()
    recorded: TableColumns | None = options.columns
    first = next(file for file in files if file.part != TEST)
    if recorded is not None and options.label_column is None and recorded.label in first.frame.columns:
        options = options.model_copy(update={"label_column": recorded.label})
    roles = read_roles(list(first.frame.columns), options, where=first.path, indices=first.indices)
    told.left_out += roles.left_out
    if recorded is not None:
        roles = _as_recorded(roles, recorded, told)
    files = [select_columns(file, roles.features, roles, told) for file in files]
    parts, roles = parts_of_rows(files, roles, told)
    if not roles.features or not len(parts):
        has = ", ".join(f"{column} ({kind})" for column, kind in first.frame.dtypes.items())
        what = "rows" if roles.features else "column to train on"
        raise DataError(
            f"{first.path} has no {what}; expected columns of numbers, words or dates, and rows. It has: {has}"
        )
    train = np.isin(parts, (TRAIN, UNLABELED))
    if not train.any():
        train[:] = True
        told.more.append("all rows are marked as test: read as one part")
    y, known = labels_of_rows(files, roles, parts)
    whole = Part(
        np.empty((len(parts), 0)),
        y,
        f"{first.path}: {', '.join(map(str, roles.features[:5]))}",
        f"{first.path}: {roles.label}",
        known=known,
        origin=origin_of_rows(files),
    )
    test, table, names = (parts == TEST) & ~train, None, class_names if y is not None else None
    if test.any() and known[train].any() and not known[test].any() and y is not None:
        told.left_out.append((files[-1].path, f"a test part of {test.sum()} samples without labels"))
        test[:] = False
    if roles.sample is not None:
        whole, train, test = _signals(files, roles, whole, train, test, told)
    else:
        if not test.any():
            held = np.flatnonzero(train)[choose_held_out(_rows(whole, train), options, names)]
            if len(held):
                train[held], test[held] = False, True
                told.hold_out(options.seed)
        table = recorded or _fitted(files, roles, train, told)
        whole = replace(
            whole,
            x=np.concatenate(
                [encode_columns(table, file.frame, where=file.path, first_row=file.first_row) for file in files]
            ),
        )
        if not table.is_plain:
            told.more.append(f"{len(table.columns)} columns become {len(table.features)} features")
    return source_in_memory(
        name,
        _rows(whole, train),
        _rows(whole, test) if test.any() else None,
        options=options,
        class_names=names,
        told=told,
        columns=table,
    )


def _as_recorded(roles: Roles, recorded: TableColumns, told: Decisions) -> Roles:
    """Take the columns that a run was trained on."""
    names = tuple(column.name for column in recorded.columns)
    told.left_out += [(name, "not trained on") for name in roles.features if name not in names]
    return replace(roles, part=None if roles.part in names else roles.part, sample=None, time=None, features=names)


def _fitted(files: Sequence[File], roles: Roles, train: NDArray[np.bool_], told: Decisions) -> TableColumns:
    """Fit each column on the rows of the training part."""
    columns, first = [], files[0]
    where = first.path if len(files) == 1 else f"{first.path} and {len(files) - 1} more"
    for name in roles.features:
        values = joined(files, name)[train]
        if name in roles.identifiers and values.is_unique and len(values) > 1 and values.dtype.kind not in "fb":
            told.left_out.append((name, "it numbers the rows"))
            continue
        column = fit_column(name, values, where=where, first_row=first.first_row)
        if isinstance(column, str):
            told.left_out.append((name, column))
        else:
            columns.append(column)
    if not columns:
        why = ", ".join(f"{name} ({reason})" for name, reason in told.left_out)
        raise DataError(f"{first.path} has no column to train on; left out: {why}")
    return TableColumns(columns=tuple(columns), label=roles.label)


def _signals(
    files: Sequence[File],
    roles: Roles,
    rows: Part,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    told: Decisions,
) -> tuple[Part, NDArray[np.bool_], NDArray[np.bool_]]:
    """Put the rows of a sample together; return all samples, and which of them are trained and tested on."""
    import pandas as pd

    assert roles.sample is not None
    where = files[0].path
    needed = [roles.sample, *([roles.time] if roles.time else []), *roles.features]
    frame = pd.DataFrame({name: joined(files, name) for name in needed})
    if len(files) > 1:  # samples are counted anew in every file
        assert rows.origin is not None
        frame[roles.sample] = rows.origin.file.astype(str) + "/" + frame[roles.sample].astype(str)
    found = read_signals(frame, roles.features, sample=roles.sample, time=roles.time, where=where)
    told.left_out += found.left_out
    told.more.append(f"signals by {roles.sample!r}" + (f", in order of {roles.time!r}" if roles.time else ""))
    _check_alike(found.rows, train, frame[roles.sample], where, str(roles.part))
    known = rows.known if rows.known is not None else np.ones(len(train), bool)
    if rows.y is not None:
        _check_alike(found.rows, rows.y, frame[roles.sample], where, str(roles.label))
    origin = rows.origin
    assert origin is not None
    samples = Part(
        found.x,
        None if rows.y is None else rows.y[found.first],
        rows.x_name,
        rows.y_name,
        known=known[found.first],
        origin=Origin(origin.files, origin.file[found.first], np.arange(len(found.first))),
    )
    return samples, train[found.first], test[found.first]


def _check_alike(rows: NDArray[np.int64], values: NDArray[Any], samples: Any, where: str, what: str) -> None:
    """Refuse rows of one sample that differ in what is told once a sample."""
    of_rows = values[rows]
    differ = (of_rows != of_rows[:, :1]).any(1)
    if differ.any():
        sample = samples.iloc[int(rows[int(differ.argmax()), 0])]
        raise DataError(
            f"{where}: the rows of sample {str(sample)!r} differ in their {what}; expected one value a sample"
        )


def _rows(whole: Part, rows: NDArray[np.bool_]) -> Part:
    return replace(
        whole,
        x=whole.x[rows],
        y=None if whole.y is None else whole.y[rows],
        known=None if whole.known is None else whole.known[rows],
        origin=None if whole.origin is None else whole.origin.chosen(rows),
    )
