"""Text tables of any separator, decimal sign and encoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_registry.data import open_source
from ssl_registry.errors import DataError


def opened(folder: Path, text: str | bytes, name: str = "x.csv"):
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    source = open_source(str(folder / name), standardize=False)
    return source, source.train.x.tolist()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators(tmp_path: Path, separator: str, end: str) -> None:
    """Told by the first rows; quotes protect them, and an empty line at the end is none."""
    text = 'a,b\n1,2.5\n"3",4.5\n\n'.replace(",", separator).replace("\n", end)
    assert opened(tmp_path, text)[1] == [[1, 2.5], [3, 4.5]]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a;b\n1,5;2\n3,25;4\n", [[1.5, 2], [3.25, 4]]),
        ("a;b\n0,125;2\n0,250;4\n", [[0.125, 2], [0.25, 4]]),
        ("a;b\n1.234,5;2\n2,0;4\n", [[1234.5, 2], [2, 4]]),
        ('a,b\n"1,234",2\n"35,000",4\n', [[1234, 2], [35000, 4]]),
        ('a,b\n"1,234.5",2\n"35,000.0",4\n', [[1234.5, 2], [35000, 4]]),
        ('a,b\n"1,5",2\n"3,25",4\n', [[1.5, 2], [3.25, 4]]),
        ("a;b\n1.5;2\n3.25;4\n", [[1.5, 2], [3.25, 4]]),
    ],
)
def test_decimal_signs(tmp_path: Path, text: str, rows: list[list[float]]) -> None:
    """A comma between digits is one, or parts thousands; the cells tell."""
    assert opened(tmp_path, text)[1] == rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    """As spreadsheets write them."""
    source, _ = opened(tmp_path, "größe,art\n1,é\n2,é\n4,ü\n".encode(encoding))
    assert source.columns.features == ("größe", "art=é", "art=ü")
    assert ("Windows-1252" in source.decided) == (encoding == "cp1252")


@pytest.mark.parametrize("text", ["a,b\nx,1,2\ny,3,4\n", ",a,b\nx,1,2\ny,3,4\n", "a,b\n1,2,\n3,4,\n"])
def test_names_of_rows_and_separators_behind_them(tmp_path: Path, text: str) -> None:
    """R's names of rows are an index; a last empty cell is no column."""
    assert opened(tmp_path, text)[1] == [[1, 2], [3, 4]]


@pytest.mark.parametrize("gap", ["", "NA", "nan", "?", "null", "N/A", "-"])
def test_gaps(tmp_path: Path, gap: str) -> None:
    """All usual signs of a missing value; the median stands for it, and a feature tells."""
    source, rows = opened(tmp_path, f"a,b\n1,2\n{gap},4\n5,6\n9,8\n")
    assert source.columns.features == ("a", "a is missing", "b")
    assert rows[1] == [5, 1, 4]


def test_all_wrong_cells_at_once(tmp_path: Path) -> None:
    """With their rows; and what to do about them."""
    cells = ["1", "2", "red", "4", "5", "x", "7", "8", "9"]
    with pytest.raises(DataError, match=r"'b', row 4: 'red', row 7: 'x': no number.*--data.drop b"):
        opened(tmp_path, "a,b\n" + "".join(f"0,{cell}\n" for cell in cells))


@pytest.mark.parametrize(
    ("dates", "days"),
    [
        (["2020-01-02", "2020-01-04"], [18263, 18265]),
        (["2020-01-02 12:00", "2020-01-04T06:00:00"], [18263.5, 18265.25]),
        (["02.01.2020", "04.01.2020"], [18263, 18265]),
        (["13/01/2020", "02/01/2020"], [18274, 18263]),
        (["01/02/2020", "01/04/2020"], [18263, 18265]),
        (["2020/01/02", "2020/01/04"], [18263, 18265]),
    ],
)
def test_dates(tmp_path: Path, dates: list[str], days: list[float]) -> None:
    """Days since 1970; with dots the day is first, with slashes where no month has such a number."""
    source, rows = opened(tmp_path, "when,x\n" + "".join(f"{date},1\n" for date in dates))
    assert source.columns.columns[0].kind == "date"
    np.testing.assert_allclose([row[0] for row in rows], days)


def test_words_are_no_channel_of_a_signal(tmp_path: Path) -> None:
    """They, and the file's index, are left out and told."""
    text = ",Sample,Time,x,y,who,label\n" + "".join(
        f"{i},{i // 3},{2 - i % 3},{i},{-i},ada,{i // 3}\n" for i in range(6)
    )
    source, rows = opened(tmp_path, text)
    assert source.input_shape == (2, 3)
    assert rows[0] == [[2, 1, 0], [-2, -1, 0]]
    assert "'who' (words or dates are no channel)" in source.decided
    assert "signals by 'Sample', in order of 'Time'" in source.decided


def test_a_gap_in_a_signal_is_told(tmp_path: Path) -> None:
    """By its sample; nothing is made up in a signal."""
    with pytest.raises(DataError, match=r"column 'x' misses 1 values, the first in sample '7'"):
        opened(tmp_path, "sample,x,y\n5,1,1\n5,2,1\n7,,1\n7,1,1\n")


@pytest.mark.parametrize(
    "text",
    ["# of 2024\n# in mm\na,b\n1,2\n3,4\n", "# a,b\n1,2\n3,4\n", "a b\n1 2\n3 4\n", " a   b\n 1   2\n 3   4\n"],
)
def test_comments_and_spaces(tmp_path: Path, text: str) -> None:
    """As instruments, numpy.savetxt and UCI write them."""
    source, rows = opened(tmp_path, text)
    assert (source.columns.features, rows) == (("a", "b"), [[1, 2], [3, 4]])


def test_a_cell_that_is_no_date(tmp_path: Path) -> None:
    """Among dates it is a mistake."""
    with pytest.raises(DataError, match=r"'when', row 3: 'soon': no date, as the others are"):
        opened(tmp_path, "when,x\n2020-01-01,1\nsoon,2\n2020-01-03,3\n")


def test_several_files(tmp_path: Path) -> None:
    """Parts by their names, numbered on over all files."""
    for name in ("train_a", "train_b", "test"):
        (tmp_path / f"{name}.csv").write_text("a,b\n1,2\n3,4\n")
    source = open_source(str(tmp_path / "*.csv"))
    assert (len(source.train), len(source.test)) == (4, 2)
    assert "train: 2 files, 4 samples; test: 1 file, 2 samples" in source.decided
    assert [source.test.row(i) for i in range(2)] == [4, 5]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'a,b\n"1,2\n', b"a" * 200_000, b"a,b\n1,2\n3,4,5,6\n"])
def test_what_is_no_table(tmp_path: Path, content: bytes) -> None:
    """One error that names the file, whatever is in it."""
    with pytest.raises(DataError, match=r"x\.csv"):
        opened(tmp_path, content)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """The test part's too."""
    (tmp_path / "x.csv").write_text("a\n1\n2\n")
    with pytest.raises(DataError, match=r"none\.csv cannot be read as a table"):
        open_source(str(tmp_path / "x.csv"), test_data=str(tmp_path / "none.csv"))


def test_whole_numbers_beyond_64_bits(tmp_path: Path) -> None:
    """They are numbers, if not exact ones."""
    (tmp_path / "x.csv").write_text("a,b\n99999999999999999999,2\n1,4\n3,5\n")
    source = open_source(str(tmp_path / "x.csv"), standardize=False)
    assert source.train.x[:, 0].tolist() == pytest.approx([1e20, 1, 3])


def test_bad_cells_of_all_columns_at_once(tmp_path):
    """One message, with one option that leaves all of these columns out."""
    rows = "\n".join(f"{n},{n / 2},2024-01-{n + 1:02d}" for n in range(20))
    (tmp_path / "x.csv").write_text(f"a,b,when\n{rows}\none,oops,soon\n")
    message = r"'a', row 22: 'one': no number; column 'b', row 22: 'oops': no number; column 'when', row 22: 'soon'"
    with pytest.raises(DataError, match=rf"{message}.*--data\.drop a,b,when"):
        open_source(str(tmp_path / "x.csv"), holdout=0.0)
