"""Tables and signals as text: ``.csv`` and ``.tsv`` of any separator, decimal sign and encoding, read by pandas."""

from __future__ import annotations

import codecs
import csv
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from ssl_registry.data.sources.csv_header import (
    COMMA,
    GROUPS,
    MISSING,
    NUMBER,
    POINT_GROUPS,
    are_numbers,
    by_column,
    is_number,
    name_columns,
    no_header,
    reads_like_data,
)
from ssl_registry.errors import DataError

__all__ = ["csv_files", "read_csv"]

SEPARATORS = ",;\t|"
LOOKED_AT = 200  # rows by which separator and decimal sign are told
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


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
        header: whether there must be one; otherwise columns are called by their numbers where the first row reads like
            data.

    Raises:
        DataError: if it is no table, naming the first row that does not fit, or has no header and must have one.
    """
    if path.exists() and not path.is_file():  # a pipe would keep its reader waiting for ever
        raise DataError(f"{path} is no regular file")
    try:
        form = _form(path, header=header)
        frame = _read(path, form)
        if len(frame) and frame.iloc[:, -1].isna().any():  # pandas fills short rows
            _check_rows(path, form)
        if form.cells and reads_like_data(form.cells, [frame[name] for name in form.header]):
            if header:
                raise no_header(path, form.cells)
            form = form.without_header()
            frame = _read(path, form)
    except DataError:  # it names the file already
        raise
    except (OSError, UnicodeError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0]
        raise DataError(f"{path} cannot be read as a table ({reason}); expected text with a header") from error
    if told is not None and form.encoding == "cp1252":
        told.more.append(f"{path.name} is read as Windows-1252, since it is no UTF-8")
    numbered = form.header == tuple(map(str, range(len(form.header)))) and form.header_lines > form.comments
    if told is not None and not header and numbered:
        told.more.append(f"{path.name}: the first row, 0 to {len(form.header) - 1}, is read as a header")
    if told is not None:
        without = [f"column {number + 1} has no name and is called {form.header[number]!r}" for number in form.unnamed]
        if not form.cells:
            without.append(f"no header: columns are called 0 to {len(form.header) - 1}")
        told.more += [words for words in without if words not in told.more]  # once, of many files
    indices = (form.header[0],) if form.row_names else ()
    return File(frame, str(path), part, indices, first_row=form.header_lines + 1)


@dataclass(frozen=True)
class _Form:
    """How a file is written.

    Args:
        encoding, separator, decimal, thousands: as pandas takes them.
        header: names of the columns.
        cells: of the header as they were written, one a column; none where there is no header.
        header_lines: lines down to the header, to be passed over.
        comments: lines with a # before the header.
        trailing: whether each row ends with a separator.
        row_names: whether the first column holds names of rows, for which the header has no cell.
    """

    encoding: str
    separator: str
    decimal: str
    thousands: str | None
    header: tuple[str, ...]
    header_lines: int
    comments: int
    trailing: bool
    cells: tuple[str, ...] = ()
    row_names: bool = False

    @property
    def unnamed(self) -> list[int]:
        """Numbers of the columns without a name but the first, which may be an index."""
        return [number for number, cell in enumerate(self.cells) if number and not cell]

    def without_header(self) -> _Form:
        """Return the form of the same file whose first row holds data; its columns are called by their numbers."""
        numbers = tuple(str(number) for number in range(len(self.header)))
        return replace(self, header=numbers, header_lines=self.comments, cells=(), row_names=False)


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
    if not rows:
        raise DataError(f"{path} has no header; expected a first line with the columns' names")
    written = [cell.strip() for cell in rows[0]]
    numbers = [str(number) for number in range(len(written))]  # which pandas writes for columns without names
    nameless = are_numbers(written)
    if nameless and header:
        raise no_header(path, written)
    cells = [cell.strip() for row in rows[1:] for cell in row]
    if nameless and written != numbers:
        decimal, thousands = _decimal([*written, *cells], separator)
        return _Form(encoding, separator, decimal, thousands, tuple(numbers), comments, comments, trailing=False)
    names, width = written, Counter(map(len, rows[1:])).most_common(1)
    trailing = row_names = False
    if width and width[0][0] == len(names) + 1:
        # R writes row names without a name for them; others end every row with a separator.
        trailing = all(len(row) == len(names) + 1 and not row[-1].strip() for row in rows[1:])
        row_names = not trailing
        names = names if trailing else ["", *names]
    if twice := [name for name, count in Counter(names).items() if name and count > 1]:
        if reads_like_data(names, by_column(rows[1:], len(names))):
            raise no_header(path, names)
        raise DataError(f"{path} has two columns of one name, {twice[0]!r}; expected each name once")
    decimal, thousands = _decimal(cells, separator)
    return _Form(
        encoding,
        separator,
        decimal,
        thousands,
        tuple(name_columns(names)),
        lines,
        comments,
        trailing,
        cells=tuple(names),
        row_names=row_names,
    )


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
        # Rows of one width, then cells that are numbers, and then many columns: a comma within text gives rows of
        # several widths, and one before decimals more columns than there are.
        numeric = len(rows) > 1 and all(is_number(cell.strip()) for row in rows[1:] for cell in row)
        found[separator] = (width > 1, alike / max(1, len(rows)), numeric, width), rows
    separator = max(found, key=lambda one: found[one][0])
    if not found[separator][0][0]:
        separator = max(SEPARATORS, key=text[0].count) if text else ","
        spaced = [line.split() for line in text if line.strip()]
        if len({len(row) for row in spaced}) == 1 and len(spaced) > 1 and len(spaced[0]) > 1:
            separator, found[" "] = " ", ((True, 1.0, False, len(spaced[0])), spaced)
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
