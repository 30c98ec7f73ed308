"""Tables and signals as text: ``.csv`` and ``.tsv`` of any separator, decimal sign and encoding, read by pandas."""

from __future__ import annotations

import codecs
import csv
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

from ssl_registry.data.arrays.table_files import TEST, TRAIN, UNLABELED, File
from ssl_registry.data.arrays.tables import source_from_files
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.options import DataOptions
from ssl_registry.data.parts import split_paths
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError

__all__ = ["csv_files", "read_csv"]

SEPARATORS = ",;\t|"
LOOKED_AT = 200  # rows by which separator and decimal sign are told
# What stands for an empty cell beside what pandas knows (NA, NaN, null, ...): UCI's data sets have question marks.
MISSING = ("?", "-", "--", "missing", "Missing", "MISSING")
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
COMMA = re.compile(r"[+-]?\d*,\d+")
GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+,\d+")


def csv_files(spec: str, options: DataOptions) -> Source:
    """Open ``x.csv`` or ``'folder/*.csv'``; files are parts by their names (see `ssl_registry.data.parts`).

    Args:
        spec: a path, with or without ``*``.
        options: how it is read.

    Raises:
        DataError: if there is no such file, or it cannot be read or used.
    """
    paths = sorted(glob(str(Path(spec).expanduser()))) or [str(Path(spec).expanduser())]
    moments = options.window_length is not None  # a recording that a device wrote often has no header
    split, told = split_paths(paths), Decisions()
    test: Sequence[str] = split.test
    if options.test_data is not None:
        told.left_out += [(path, "--data.test names another test part") for path in test]
        test = sorted(glob(str(Path(options.test_data).expanduser()))) or [options.test_data]
    told.left_out += [(path, "a second held-out part") for path in split.validation]
    files = [
        read_csv(Path(path), part, told, header=not moments)
        for part, chosen in ((TRAIN, split.train), (UNLABELED, split.unlabeled), (TEST, test))
        for path in chosen
    ]
    first = Path(paths[0])
    return source_from_files(first.stem if len(paths) == 1 else first.resolve().parent.name, files, options, told=told)


def read_csv(path: Path, part: str = TRAIN, told: Decisions | None = None, *, header: bool = True) -> File:
    """Read a file with a header.

    Separator (comma, semicolon, tab, bar or spaces), decimal sign and encoding (UTF-8 with or without its mark, UTF-16
    with its mark, else Windows-1252) are told by the first rows.

    Args:
        path: the file.
        part: of its rows.
        told: takes what is unusual about it.
        header: whether there must be one; otherwise columns are called by their numbers where the first row holds
            numbers.

    Raises:
        DataError: if it is no table with a header, naming the first row that does not fit.
    """
    if path.exists() and not path.is_file():  # a pipe would keep its reader waiting for ever
        raise DataError(f"{path} is no regular file")
    try:
        form = _form(path, header=header)
        frame = _read(path, form)
        if len(frame) and frame.iloc[:, -1].isna().any():  # pandas fills short rows
            _check_rows(path, form)
    except (OSError, UnicodeError, ValueError, csv.Error) as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{path} cannot be read as a table ({reason}); expected text with a header") from error
    if told is not None and form.encoding == "cp1252":
        told.more.append(f"{path.name} is read as Windows-1252, since it is no UTF-8")
    numbered = form.header == tuple(map(str, range(len(form.header)))) and form.header_lines > form.comments
    if told is not None and not header and numbered:
        told.more.append(f"{path.name}: the first row, 0 to {len(form.header) - 1}, is read as a header")
    return File(frame, str(path), part, first_row=form.header_lines + 1)


@dataclass(frozen=True)
class _Form:
    """How a file is written.

    Args:
        encoding, separator, decimal, thousands: as pandas takes them.
        header: names of the columns; a column of row names that has none is called ``""``.
        header_lines: lines down to the header, to be passed over.
        comments: lines with a # before the header.
        trailing: whether each row ends with a separator.
    """

    encoding: str
    separator: str
    decimal: str
    thousands: str | None
    header: tuple[str, ...]
    header_lines: int
    comments: int
    trailing: bool


def _read(path: Path, form: _Form) -> Any:
    """Return the table of pandas."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are too long
            return pd.read_csv(
                path,
                sep=form.separator,
                decimal=form.decimal,
                thousands=form.thousands,
                encoding=form.encoding,
                names=list(form.header),
                skiprows=form.header_lines,
                header=None,
                index_col=False,
                usecols=range(len(form.header)) if form.trailing else None,
                na_values=MISSING,
                skipinitialspace=True,
                low_memory=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        _check_rows(path, form)
        raise ValueError(str(error)) from error


def _form(path: Path, *, header: bool) -> _Form:
    with path.open("rb") as stream:
        start = stream.read(4)
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if start.startswith(mark)), "utf-8")
    try:
        first = _first_rows(path, encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise
        encoding = "cp1252"
        first = _first_rows(path, encoding)
    separator, rows, lines, comments = first
    nameless = not rows or all(NUMBER.fullmatch(cell.strip()) for cell in rows[0])
    if nameless and (header or not rows):
        raise DataError(f"{path} has no header; expected a first line with the columns' names")
    numbers = [str(number) for number in range(len(rows[0]))]
    if nameless and rows[0] != numbers:  # which pandas writes for columns without names
        decimal, thousands = _decimal([cell.strip() for row in rows for cell in row], separator)
        return _Form(encoding, separator, decimal, thousands, tuple(numbers), comments, comments, trailing=False)
    names, width = [name.strip() for name in rows[0]], Counter(map(len, rows[1:])).most_common(1)
    trailing = False
    if width and width[0][0] == len(names) + 1:
        # R writes row names without a name for them; others end every row with a separator.
        trailing = all(len(row) == len(names) + 1 and not row[-1].strip() for row in rows[1:])
        names = names if trailing else ["", *names]
    if twice := [name for name, count in Counter(names).items() if name and count > 1]:
        raise DataError(f"{path} has two columns of one name, {twice[0]!r}; expected each name once")
    unnamed = iter(f"Unnamed: {number}" for number, name in enumerate(names) if not name)
    names = [name or next(unnamed) for name in names]
    cells = [cell.strip() for row in rows[1:] for cell in row]
    decimal, thousands = _decimal(cells, separator)
    return _Form(encoding, separator, decimal, thousands, tuple(names), lines, comments, trailing)


def _first_rows(path: Path, encoding: str) -> tuple[str, list[list[str]], int, int]:
    """Return the separator, the first rows, how many lines the header reaches down to, and lines of comments."""
    with path.open(newline="", encoding=encoding) as file:
        text = list(islice(file, LOOKED_AT))
        for _ in iter(lambda: file.read(1 << 20), ""):
            pass  # the whole file must be text of this encoding
    comments = next((number for number, line in enumerate(text) if not line.startswith("#")), 0)
    if comments and all(NUMBER.fullmatch(cell) for cell in re.split(rf"[{SEPARATORS} ]+", text[comments].strip())):
        comments -= 1  # numpy.savetxt puts a # before the header
        text[comments] = text[comments].lstrip("# ")
    text, found = text[comments:], {}
    for separator in SEPARATORS:
        rows = [row for row in csv.reader(text, delimiter=separator, skipinitialspace=True) if row]
        widths = Counter(map(len, rows))
        width, alike = widths.most_common(1)[0] if widths else (1, 0)
        # Rows of one width, and then many columns: a comma within numbers or text gives rows of several widths.
        found[separator] = (width > 1, alike / max(1, len(rows)), width), rows
    separator = max(found, key=lambda one: found[one][0])
    if not found[separator][0][0]:
        separator = max(SEPARATORS, key=text[0].count) if text else ","
        spaced = [line.split() for line in text if line.strip()]
        if len({len(row) for row in spaced}) == 1 and len(spaced) > 1 and len(spaced[0]) > 1:
            separator, found[" "] = " ", ((True, 1.0, len(spaced[0])), spaced)
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True)
    lines = next((reader.line_num for row in reader if row), 0)
    return separator, found[separator][1], comments + lines, comments


def _decimal(cells: list[str], separator: str) -> tuple[str, str | None]:
    """Tell the decimal sign and the sign between thousands."""
    commas = [cell for cell in cells if COMMA.fullmatch(cell)]
    if any(POINT_GROUPS.fullmatch(cell) for cell in cells):
        return ",", "."
    groups = [cell for cell in cells if GROUPS.fullmatch(cell)]
    if any("." in cell for cell in groups) or (separator == "," and groups and len(groups) >= len(commas)):
        return ".", ","
    points = any(re.fullmatch(r"[+-]?\d*\.\d+", cell) for cell in cells)
    return ("," if commas and not points else "."), None


def _check_rows(path: Path, form: _Form) -> None:
    """Refuse rows of another length than the header.

    Raises:
        DataError: naming the first.
    """
    width = len(form.header) + form.trailing
    with path.open(newline="", encoding=form.encoding) as file:
        lines = islice(file, form.comments, None)
        rows = (row for row in csv.reader(lines, delimiter=form.separator, skipinitialspace=True) if row)
        for number, row in enumerate(rows, 1):
            if len(row) != width and number > 1:
                raise DataError(f"{path}, row {number}: {len(row)} cells; expected {width}, as the header has")
