"""Tables and signals in ``.csv``, read with the standard library."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.errors import DataError

__all__ = ["read_csv"]

SAMPLE = "sample"  # this column makes it one row a moment instead of one row a sample
TIME = "time"
IS_TEST = "is_test"


def read_csv(path: Path, labels: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read a file of numbers with a header.

    One row is one sample, and its numbers are features. With a column ``sample`` one row is one moment of a signal
    instead: rows of one number or name in it belong together, and the other columns are channels. Samples come in the
    order in which the file first names them, their rows in that of ``time``, or in the file's where there is none or it
    holds no numbers; it is no channel. A column of one of the names in ``labels`` holds the class, and ``is_test``
    marks by 1 what is held out; in signals ``y`` is a channel.

    Args:
        path: the file; separated by commas, semicolons or tabs.
        labels: names of a column of labels.

    Returns:
        ``X``: [N, features] or [N, channels, time]; and ``y`` and ``is_test``, [N], where there are such columns.

    Raises:
        DataError: naming the line or column, and what was expected.
    """
    header, rows = _rows(path)
    names = [name.strip() for name in header]
    # Beside x and z, a signal's y is a channel.
    known = {word.lower() for word in labels} - ({"y"} if SAMPLE in names else set())
    label = next((name for name in names if name.lower() in known), None)
    roles = {SAMPLE, TIME if SAMPLE in names else "", IS_TEST, label}
    features = [index for index, name in enumerate(names) if name not in roles]
    if not features or not rows:
        raise DataError(
            f"{path} has no {'rows' if features else 'columns of numbers'}; expected a header, then numbers"
        )
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    values = np.array([_numbers(path, names[index], columns[names[index]]) for index in features]).T
    arrays: dict[str, NDArray[Any]] = {"X": values}
    if label is not None:
        arrays["y"] = _classes(columns[label])
    if IS_TEST in columns:
        arrays[IS_TEST] = _numbers(path, IS_TEST, columns[IS_TEST])
    return _signals(path, arrays, columns[SAMPLE], columns.get(TIME)) if SAMPLE in columns else arrays


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            found = [row for row in csv.reader(file, delimiter=max(",;\t", key=first.count)) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table ({error}); expected text in UTF-8") from error
    if not found or all(_is_number(cell) for cell in found[0]):
        raise DataError(f"{path} has no header; expected a first line with the columns' names")
    for number, row in enumerate(found[1:], 2):
        if len(row) != len(found[0]):
            raise DataError(f"{path}, row {number}: {len(row)} cells; expected {len(found[0])}, as the header has")
    if len(set(found[0])) < len(found[0]):
        raise DataError(f"{path} has two columns of one name; expected each name once")
    return found[0], found[1:]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: Path, name: str, cells: Sequence[str]) -> NDArray[np.float64]:
    try:
        return np.array(cells, np.float64)
    except ValueError:
        row, cell = next((row, cell) for row, cell in enumerate(cells, 2) if not _is_number(cell))
        raise DataError(
            f"{path}, column {name!r}, row {row}: {cell!r} is no number; leave the column out or write it as numbers "
            "(classes go into a column 'label')"
        ) from None


def _classes(cells: Sequence[str]) -> NDArray[Any]:
    text = np.array([cell.strip() for cell in cells])
    try:
        return text.astype(np.int64)
    except ValueError:
        return text


def _signals(
    path: Path, arrays: dict[str, NDArray[Any]], samples: Sequence[str], times: Sequence[str] | None
) -> dict[str, NDArray[Any]]:
    """Put rows of one sample together: [N, channels, time]."""
    order: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        order.setdefault(sample, []).append(row)
    lengths = {len(rows) for rows in order.values()}
    if len(lengths) > 1:
        raise DataError(
            f"{path}: samples have from {min(lengths)} to {max(lengths)} rows; expected one length: cut the signals "
            "into windows"
        )
    rows = np.array(list(order.values()))  # [N, time]
    if times is not None and all(map(_is_number, times)):
        moments = np.array(times, np.float64)[rows]
        rows = np.take_along_axis(rows, moments.argsort(1, kind="stable"), 1)
    out = {"X": arrays["X"][rows].transpose(0, 2, 1).astype(np.float32)}
    for key in arrays.keys() - {"X"}:
        of_rows = arrays[key][rows]
        if (of_rows != of_rows[:, :1]).any():
            sample = list(order)[int((of_rows != of_rows[:, :1]).any(1).argmax())]
            raise DataError(f"{path}: the rows of sample {sample!r} differ in their {key}; expected one value a sample")
        out[key] = of_rows[:, 0]
    return out
