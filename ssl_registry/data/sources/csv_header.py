"""The first row of a table as text: whether it holds names or data, and what columns without a name are called."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_registry.data.arrays.encoding import DATE
from ssl_registry.data.arrays.written_numbers import read_number
from ssl_registry.errors import DataError

__all__ = ["are_numbers", "by_column", "is_number", "name_columns", "no_header", "reads_like_data"]

# What stands for an empty cell beside what pandas knows (NA, NaN, null, ...): UCI's data sets have question marks.
MISSING = ("?", "-", "--", "missing", "Missing", "MISSING")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
COMMA = re.compile(r"[+-]?\d*,\d+")
GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+,\d+")


def name_columns(names: Sequence[str]) -> list[str]:
    """Return the names of columns, and names for those without one.

    The first may be an index, and is called as pandas calls it; others are called by their numbers, counted from 1.

    >>> name_columns(["", "a", "", "b"])
    ['Unnamed: 0', 'a', 'column_3', 'b']
    """
    taken, found = set(names), []
    for number, name in enumerate(names):
        new = name or (f"column_{number + 1}" if number else "Unnamed: 0")
        while not name and new in taken:
            new += "_"
        found.append(new)
    return found


def are_numbers(cells: Sequence[str]) -> bool:
    """Whether a first row is numbers, and so no names; of a row with gaps unless the numbers rise behind the first.

    >>> are_numbers(["5.1", "3,5"]), are_numbers(["5.1", "", "3"]), are_numbers(["", "400", "410"])
    (True, True, False)
    """
    given = [cell for cell in cells if cell]
    if not given or not all(is_number(cell) for cell in given):
        return False
    read = [_value(cell) for cell in given]
    rising = all(first < second for first, second in itertools.pairwise(read))
    return cells[0] != "" or len(given) < len(cells) - 1 or not rising  # an index without a name, then wavelengths


def reads_like_data(cells: Sequence[str], columns: Sequence[Any]) -> bool:
    """Whether a header is a row of data: its numbers stand over numbers, and its words among their columns' values.

    Where it has numbers or dates too, not every word must be found again: a name may be another one in every row.
    Numbers alone tell nothing here: see `are_numbers`.

    Args:
        cells: of the header; empty ones tell nothing.
        columns: a ``pandas.Series`` for each.

    Example:
        >>> import pandas as pd
        >>> columns = [pd.Series([38, 53]), pd.Series(["Private", "State-gov"])]
        >>> reads_like_data(["39", "State-gov"], columns), reads_like_data(["age", "State-gov"], columns)
        (True, False)
    """
    import pandas as pd

    again, others, over, dates = 0, 0, 0, 0
    for cell, column in zip(cells, columns, strict=True):
        values = column.dropna()
        if not cell or cell in MISSING or not len(values):
            continue
        words: set[str] = set()
        numeric = pd.api.types.is_numeric_dtype(values.dtype)
        if pd.api.types.is_bool_dtype(values.dtype):
            words, numeric = {cell} if cell.lower() in ("true", "false") else set(), False
        elif not numeric:
            words = {str(value).strip() for value in values.unique()}
            numeric = all(is_number(word) for word in words)
            if not is_number(cell) and all(is_number(word) for word in words - {cell}):
                return False  # a header, and perhaps another one below it, as in files that were joined
        if numeric:
            if not is_number(cell):
                return False
            over += 1
        elif DATE.fullmatch(cell) and all(DATE.fullmatch(word) for word in words):
            over, dates = over + 1, dates + 1
        elif cell in words:
            again += 1
        else:
            others += 1
    return (again > 0 and (others == 0 or over > 0)) or (dates > 0 and over == len(cells))


def by_column(rows: Sequence[Sequence[str]], width: int) -> list[Any]:
    """Return the columns of rows; those of another width are left out."""
    import pandas as pd

    frame = pd.DataFrame([row for row in rows if len(row) == width], columns=range(width))
    return [frame[number].str.strip() for number in range(width)]


def is_number(cell: str) -> bool:
    """Whether a cell is a number, with a point or a comma before its decimals.

    >>> [is_number(cell) for cell in ("1e-3", "3,5", "1,234.5", "5 kg")]
    [True, True, True, False]
    """
    return any(form.fullmatch(cell) for form in (NUMBER, COMMA, GROUPS, POINT_GROUPS))


def _value(cell: str) -> float:
    read = read_number(cell) or read_number(cell, decimal_comma=True)
    return float(cell) if read is None else read[0]


def no_header(path: Path, cells: Sequence[str]) -> DataError:
    """Return the error about a file whose first row holds data."""
    shown = " | ".join(cells[:4]) + (" | ..." if len(cells) > 4 else "")
    names = [f"c{number}" for number in range(1, len(cells))]
    names = [*(names if len(names) < 4 else [*names[:2], "...", names[-1]]), "label"]
    return DataError(
        f"{path} has no header; expected a first line with the columns' names, and it reads like data: {shown}. Add a "
        f"line before it with a name for each of the {len(cells)} columns, such as {','.join(names)}, separated as "
        "the rows are"
    )
