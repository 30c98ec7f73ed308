"""Columns of words, dates, booleans and gaps become numbers: fitted on the training part, applied to every other."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.written_numbers import read_number, unit_of
from ssl_registry.errors import DataError
from ssl_registry.views.columns import Column, TableColumns

__all__ = [
    "MOST_CATEGORIES",
    "Bad",
    "BadCellsError",
    "encode_columns",
    "fit_column",
    "is_text",
    "kind_of",
    "numbers_rows",
]

# skrub's TableVectorizer writes columns of up to 40 categories as one-hot (its `cardinality_threshold`).
MOST_CATEGORIES = 40
BOOLEANS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "t": 1.0, "f": 0.0, "y": 1.0, "n": 0.0}
DATE = re.compile(r"\s*\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ]+\d{1,2}:\d{2}\S*)?\s*")
EPOCH = np.datetime64("1970-01-01T00:00:00", "ns")
DAY = 86400e9  # nanoseconds
SHOWN = 10  # of the bad cells of a column


def fit_column(name: str, values: Any, *, where: str, first_row: int = 0) -> Column | str:
    """Decide what a column becomes, by its values in the training part.

    Numbers and booleans stay numbers, dates become days since 1970, and words become a feature of 0 and 1 for each of
    the 40 most frequent ones; rarer ones share a further feature.

    Args:
        name: of the column.
        values: a ``pandas.Series``.
        where: the file, for messages.
        first_row: number of the first row, for messages.

    Returns:
        The column; or why it is no feature.

    Raises:
        BadCellsError: if a column of numbers has cells that are none; it names all of them.
    """
    import pandas as pd

    missing = values.isna()
    there = values[~missing]
    if not len(there):
        return "empty in the train part"
    gaps = bool(missing.any())
    if values.dtype == object and all(type(one) in (int, float, bool) for one in there):
        # Whole numbers beyond 64 bits, or of several types.
        values, there = values.astype(float), there.astype(float)
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        return kind_of(values)
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        if there.dtype.kind == "c":
            return "complex numbers"
        return Column(name=name, fill=_median(there.to_numpy(np.float64)), has_missing=gaps)
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or _are_dates(there):
        day_first = _day_first(there)
        column = Column(name=name, kind="date", has_missing=gaps, day_first=day_first)
        return column.model_copy(update={"fill": _median(_numbers(column, there))})
    if not is_text(there):
        return kind_of(there)
    words = there.astype(str).str.strip()
    _check_alike(name, values, words.str.fullmatch(DATE.pattern), where, "no date", first_row)
    if set(words.str.lower().unique()) <= set(BOOLEANS):
        return Column(name=name, fill=_median(words.str.lower().map(BOOLEANS).to_numpy()), has_missing=gaps)
    if (written := unit_of(words.unique())) is not None:
        column = Column(name=name, unit=written[0], decimal_comma=written[1], has_missing=gaps)
        return column.model_copy(update={"fill": _median(_numbers(column, there))})
    _check_alike(name, values, pd.to_numeric(words, errors="coerce").notna(), where, "no number", first_row)
    counts = words.value_counts()
    if len(counts) == len(words) > 1:
        return "text that differs in every row"
    if len(counts) > MOST_CATEGORIES and len(counts) > len(words) / 2:
        return f"text of {len(counts)} values in {len(words)} rows"
    # By frequency, then by name: the file's order decides nothing.
    frequent = sorted(counts.index, key=lambda word: (-counts[word], word))[:MOST_CATEGORIES]
    others = len(counts) > MOST_CATEGORIES
    return Column(name=name, kind="category", categories=tuple(sorted(frequent)), has_others=others, has_missing=gaps)


def encode_columns(table: TableColumns, frame: Any, *, where: str, first_row: int = 0) -> NDArray[np.float64]:
    """Apply what was fitted.

    Args:
        table: the columns.
        frame: a ``pandas.DataFrame`` that has them.
        where: the file, for messages.
        first_row: number of the first row, for messages.

    Returns:
        [N, features].

    Raises:
        BadCellsError: if columns of numbers or dates have cells that are none; it names all of them.
    """
    out = np.zeros((len(frame), len(table.features)), np.float64)
    with Bad() as bad:
        at = 0
        for column in table.columns:
            with bad.told():
                _encode_column(column, frame[column.name], out[:, at : at + len(column.features)], where, first_row)
            at += len(column.features)
    return out


def _encode_column(column: Column, values: Any, out: NDArray[np.float64], where: str, first_row: int) -> None:
    """Fill the features [N, features] of one column."""
    import pandas as pd

    missing = values.isna().to_numpy()
    if column.kind == "category":
        places = {category: number for number, category in enumerate(column.categories)}
        codes, found = pd.factorize(values)  # -1 for gaps
        other = len(places) if column.has_others else -1
        target = np.array([*(places.get(str(word).strip(), other) for word in found), -1], np.int64)[codes]
        rows = np.flatnonzero(target >= 0)
        out[rows, target[rows]] = 1
    else:
        numbers = np.full(len(values), column.fill)
        if not missing.all():
            numbers[~missing] = _numbers(column, values[~missing], where, first_row)
        out[:, 0] = numbers
    if column.has_missing:
        out[:, -1] = missing


def kind_of(values: Any) -> str:
    """Return what a column holds, in a word.

    >>> import pandas as pd
    >>> [kind_of(pd.Series(one)) for one in (["a", None], [1.5], [True], ["2024-01-01"], [None], [b"x"])]
    ['text', 'numbers', 'true and false', 'dates', 'empty', 'bytes']
    """
    import pandas as pd

    there = values.dropna()
    if not len(there):
        return "empty"
    if pd.api.types.is_bool_dtype(there.dtype):
        return "true and false"
    if pd.api.types.is_numeric_dtype(there.dtype):
        return "numbers"
    if pd.api.types.is_datetime64_any_dtype(there.dtype) or _are_dates(there):
        return "dates"
    if pd.api.types.is_timedelta64_dtype(there.dtype):
        return "spans of time"
    kind = type(there.iloc[0])
    words = {str: "text", bytes: "bytes", bool: "true and false", int: "numbers", float: "numbers", dict: "structures"}
    return words.get(kind, "lists" if kind in (list, tuple, np.ndarray) else "values of several kinds")


def numbers_rows(values: Any) -> bool:
    """Whether a column without a name is an index: it counts by one, perhaps anew, or no two of its values are equal.

    Fractions measure something.

    >>> import pandas as pd
    >>> [numbers_rows(pd.Series(one)) for one in ([1, 2, 3], [0, 1, 0, 1], [7, 3, 9], ["b", "a"], [0, 5, 5], [0.5, 1])]
    [True, True, True, True, False, False]
    """
    if values.isna().any() or values.dtype.kind in "fb":
        return False
    if values.is_unique:
        return True
    if values.dtype.kind not in "iu":
        return False
    numbers = values.to_numpy()
    steps = np.diff(numbers)
    return bool(numbers[0] in (0, 1) and ((steps == 1) | (numbers[1:] == numbers[0])).all() and (steps == 1).any())


def is_text(values: Any) -> bool:
    """Whether a series holds words."""
    return bool(len(values)) and isinstance(values.iloc[0], str)


def _numbers(column: Column, values: Any, where: str = "", first_row: int = 0) -> NDArray[np.float64]:
    """Return a column of numbers or dates without gaps as numbers."""
    import pandas as pd

    if column.kind == "date":
        if not pd.api.types.is_datetime64_any_dtype(values.dtype):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of days before months, which the training part decided
                parsed = pd.to_datetime(
                    values.astype(str), errors="coerce", dayfirst=column.day_first, format="mixed", utc=True
                )
            _refuse(column.name, values, parsed.isna().to_numpy(), where, "no date", first_row)
            values = parsed
        if getattr(values.dtype, "tz", None) is not None:
            values = values.dt.tz_convert(None)
        return np.asarray((values.to_numpy("datetime64[ns]") - EPOCH).astype(np.float64) / DAY)
    if values.dtype.kind in "biuf":
        return np.asarray(values.to_numpy(np.float64))
    if column.unit is not None:
        comma = column.decimal_comma
        written = {cell: read_number(str(cell), decimal_comma=comma) for cell in values.unique()}
        known = {cell: one[0] for cell, one in written.items() if one is not None and one[1] in (column.unit, "")}
        _refuse(column.name, values, ~values.isin(known).to_numpy(), where, "no number", first_row)
        return np.asarray(values.map(known).to_numpy(np.float64))
    words = values.astype(str).str.strip().str.lower()
    mapped = words.map(BOOLEANS)
    found = pd.to_numeric(values, errors="coerce").fillna(mapped)
    _refuse(column.name, values, found.isna().to_numpy(), where, "no number", first_row)
    return np.asarray(found.to_numpy(np.float64))


def _median(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else 0.0


def _are_dates(there: Any) -> bool:
    import datetime

    first = there.iloc[0]
    if isinstance(first, datetime.date):
        return True
    return isinstance(first, str) and bool(there.astype(str).str.fullmatch(DATE.pattern).all())


def _day_first(there: Any) -> bool:
    """Whether dates such as 31/12/2024 have the day first: they have, where a first number is no month."""
    if not isinstance(there.iloc[0], str):
        return False
    first = there.astype(str).str.extract(r"^\s*(\d{1,4})[-/.](\d{1,2})[-/.]\d{4}", expand=True).dropna().astype(int)
    if not len(first):
        return False
    # Dots are German and Czech, where the day is first; slashes are taken for American ones unless that cannot be.
    return bool((first[0] > 12).any() or there.astype(str).str.contains(r"^\s*\d{1,2}\.", regex=True).all())


class BadCellsError(DataError):
    """Cells that are no numbers or dates, among others of their columns that are.

    Args:
        where: the file.
        found: each column's name, and its cells in words.
    """

    def __init__(self, where: str, found: Sequence[tuple[str, str]]) -> None:
        self.where, self.found = where, list(found)
        columns = "; ".join(f"column {name!r}, {cells}" for name, cells in found)
        those = "the column" if len(found) == 1 else "these columns"
        super().__init__(
            f"{where}, {columns}, as the others are; mend these cells or leave them empty, or leave {those} out: "
            f"--data.drop {','.join(name for name, _ in found)}"
        )


class Bad:
    """Collects what is wrong with the cells of several columns, to tell it at once.

    Example:
        >>> with Bad() as bad:
        ...     for name in "ab":
        ...         with bad.told():
        ...             raise BadCellsError("x.csv", [(name, "row 2: '?': no number")])
        Traceback (most recent call last):
        ssl_registry.data.arrays.encoding.BadCellsError: x.csv, column 'a', row 2: '?': no number; column 'b', row 2: \
'?': no number, as the others are; mend these cells or leave them empty, or leave these columns out: --data.drop a,b
    """

    def __init__(self) -> None:
        self._errors: list[BadCellsError] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None and self._errors:
            raise BadCellsError(self._errors[0].where, [one for error in self._errors for one in error.found])

    @contextmanager
    def told(self) -> Iterator[None]:
        """Keep what the block says of cells, and go on behind it."""
        try:
            yield
        except BadCellsError as error:
            self._errors.append(error)


def _check_alike(name: str, values: Any, fits: Any, where: str, fact: str, first_row: int) -> None:
    """Refuse a column most of whose cells are numbers, or dates: the others are mistakes, not categories."""
    wrong = ~fits.to_numpy(bool)
    if 0 < int(wrong.sum()) <= len(wrong) / 2:
        bad = np.zeros(len(values), bool)
        bad[np.flatnonzero(values.notna())[wrong]] = True
        _refuse(name, values, bad, where, fact, first_row)


def _refuse(name: str, values: Any, bad: NDArray[np.bool_], where: str, fact: str, first_row: int) -> None:
    if not bad.any():
        return
    rows = np.flatnonzero(bad)
    numbered = [(int(values.index[row]) + first_row, str(values.iloc[row])) for row in rows[:SHOWN].tolist()]
    cells = ", ".join(f"row {number}: {cell!r}" for number, cell in numbered)
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    raise BadCellsError(where, [(name, f"{cells}{more}: {fact}")])
