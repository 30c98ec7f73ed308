"""Rows that are moments become recordings: those with one name in the column ``sample``, or of one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.encoding import encode_columns, fit_column
from ssl_registry.data.arrays.times import as_times, counters
from ssl_registry.errors import DataError
from ssl_registry.views.columns import Column, TableColumns

__all__ = ["Recordings", "read_recordings"]


@dataclass(frozen=True)
class Recordings:
    """What the rows of a table hold.

    Args:
        x: each [channels, time] in float32; in the order in which the rows first name them.
        names: of them.
        first: the first row of each, [N].
        rows: all rows, recording by recording and each in order of time, [rows].
        offsets: where in ``rows`` each begins, [N].
        of_rows: the number of the recording of each row of the table, [rows].
        left_out: columns that are no channels, and why.
        channels: the columns that are.
        counters: those of them that rise by one step in every recording.
    """

    x: list[NDArray[np.float32]]
    names: list[str]
    first: NDArray[np.int64]
    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    of_rows: NDArray[np.int64]
    left_out: list[tuple[str, str]]
    channels: tuple[str, ...]
    counters: tuple[str, ...]


def read_recordings(
    frame: Any, channels: tuple[str, ...], *, samples: Any, time: str | None, where: str, first_row: int = 2
) -> Recordings:
    """Put the rows of each recording together.

    Args:
        frame: a ``pandas.DataFrame``.
        channels: columns; those that hold no numbers are left out.
        samples: of each row, the name of its recording.
        time: the column by which a sample's rows are ordered, where it holds numbers or dates.
        where: the file, for messages.
        first_row: number of the first row, for messages.

    Raises:
        DataError: if a channel misses values, or there is none.
    """
    import pandas as pd

    codes, names = pd.factorize(samples.astype(str), sort=False)
    offsets = np.cumsum([0, *np.bincount(codes)])[:-1]
    moments = None if time is None else as_times(frame[time])
    rows = np.argsort(codes, kind="stable") if moments is None else np.lexsort((moments, codes))
    columns, left_out = [], []
    for name in channels:
        if not len(values := frame[name].dropna()):
            left_out.append((name, "empty"))
            continue
        if len(values) < len(frame):
            first = int(np.flatnonzero(frame[name].isna())[0])
            raise DataError(
                f"{where}: column {name!r} misses {len(frame) - len(values)} values, the first in sample "
                f"{names[codes[first]]!r} (row {first + first_row}); fill them, or leave the column out: "
                f"--data.drop {name}"
            )
        column = fit_column(name, frame[name], where=where, first_row=first_row)
        if isinstance(column, Column) and column.kind == "number":
            columns.append(column)
        else:
            left_out.append((name, "words or dates are no channel"))
    if not columns:
        why = "".join(f"; left out: {name} ({reason})" for name, reason in left_out)
        raise DataError(f"{where} has no column of numbers to be a channel; expected one for each channel{why}")
    values = encode_columns(TableColumns(columns=tuple(columns)), frame, where=where)
    x = np.split(values[rows].astype(np.float32), offsets[1:])  # each [time, channels]
    first_rows = np.full(len(names), len(frame), np.int64)
    np.minimum.at(first_rows, codes, np.arange(len(frame)))
    kept = tuple(column.name for column in columns)
    even = tuple(counters(frame, kept, codes))
    return Recordings(
        [one.T for one in x], list(map(str, names)), first_rows, rows, offsets, codes, left_out, kept, even
    )
