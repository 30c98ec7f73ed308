"""Rows that are moments become signals: those with one number or name in the column ``sample`` belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.encoding import encode_columns, fit_column
from ssl_registry.errors import DataError
from ssl_registry.views.columns import Column, TableColumns

__all__ = ["Signals", "read_signals"]


@dataclass(frozen=True)
class Signals:
    """Signals of one length.

    Args:
        x: [N, channels, time] in float32; samples in the order in which the rows first name them.
        first: the first row of each sample, [N].
        rows: of each sample in order of time, [N, time].
        left_out: columns that are no channels, and why.
    """

    x: NDArray[np.float32]
    first: NDArray[np.int64]
    rows: NDArray[np.int64]
    left_out: list[tuple[str, str]]


def read_signals(frame: Any, channels: tuple[str, ...], *, sample: str, time: str | None, where: str) -> Signals:
    """Put the rows of each sample together.

    Args:
        frame: a ``pandas.DataFrame``.
        channels: columns; those that hold no numbers are left out.
        sample: the column that tells the sample.
        time: the column by which a sample's rows are ordered, where it holds numbers or dates.
        where: the file, for messages.

    Raises:
        DataError: if samples have several lengths, or a channel misses values.
    """
    import pandas as pd

    codes, names = pd.factorize(frame[sample].astype(str), sort=False)
    lengths = np.bincount(codes)
    if lengths.min() != lengths.max():
        raise DataError(
            f"{where}: samples have from {lengths.min()} to {lengths.max()} rows; expected one length: cut the signals "
            "into windows"
        )
    moments = None if time is None else _moments(frame[time])
    order = np.argsort(codes, kind="stable") if moments is None else np.lexsort((moments, codes))
    rows = order.reshape(len(names), -1)
    columns, left_out = [], []
    for name in channels:
        if not len(values := frame[name].dropna()):
            left_out.append((name, "empty"))
            continue
        if len(values) < len(frame):
            first = int(np.flatnonzero(frame[name].isna())[0])
            raise DataError(
                f"{where}: column {name!r} misses {len(frame) - len(values)} values, the first in sample "
                f"{names[codes[first]]!r}; fill them, or leave the column out: --data.drop {name}"
            )
        column = fit_column(name, frame[name], where=where, first_row=2)
        if isinstance(column, Column) and column.kind == "number":
            columns.append(column)
        else:
            left_out.append((name, "words or dates are no channel"))
    if not columns:
        raise DataError(f"{where} has no columns of numbers beside {sample!r}; expected one for each channel")
    values = encode_columns(TableColumns(columns=tuple(columns)), frame, where=where)
    x = values[rows].transpose(0, 2, 1).astype(np.float32)  # [N, channels, time]
    first_rows = np.full(len(names), len(frame), np.int64)
    np.minimum.at(first_rows, codes, np.arange(len(frame)))
    return Signals(x, first_rows, rows, left_out)


def _moments(times: Any) -> NDArray[np.float64] | None:
    """Return times as numbers; None if they are words."""
    import pandas as pd

    numbers = pd.to_numeric(times, errors="coerce") if times.dtype.kind not in "mM" else times.astype("int64")
    if not numbers.isna().any():
        return np.asarray(numbers.to_numpy(np.float64))
    column = fit_column("time", times, where="")
    if isinstance(column, Column) and column.kind == "date" and not column.has_missing:
        return encode_columns(TableColumns(columns=(column,)), times.to_frame("time"), where="")[:, 0]
    return None
