"""The first row of a CSV: names, or data; and columns without a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_registry.data import open_source
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError

ADULT = [
    "39, State-gov, Bachelors, Male, <=50K",
    "50, Private, Bachelors, Male, <=50K",
    "38, State-gov, HS-grad, Female, >50K",
    "53, Private, HS-grad, Male, <=50K",
]
PASSENGERS = ['1,0,"Braund, Mr. Owen",male,22', '2,1,"Cumings, Mrs. John",female,38', '3,0,"Heikkinen, Miss",male,26']


def opened(folder: Path, rows: list[str], head: str | None = None, end: str = "\n", **options: object) -> Source:
    """Write rows, below a header where there is one, and open them."""
    (folder / "x.csv").write_text(end.join([*([head] if head is not None else []), *rows]) + end, encoding="utf-8")
    return open_source(str(folder / "x.csv"), **options)


@pytest.mark.parametrize(
    "rows",
    [
        ADULT,
        [f" {row} " for row in ADULT],
        ["\ufeff" + ADULT[0], *ADULT[1:]],
        [", ".join(f'"{cell}"' for cell in row.split(", ")) for row in ADULT],
        [row.replace(", ", ";") for row in ADULT],
        [f"{row}, 7, 7" for row in ADULT],  # two cells of one value, which would be two columns of one name
        PASSENGERS,
        ["red,small", "blue,large", "red,large", "blue,small"],
        ["2024-01-01,5", "2024-01-02,7", "2024-01-03,6"],
        ["5.1,,3.5", "4.9,3.0,1.4", "4.7,3.2,1.3"],
        ["5.1,3.5,1.4", "4.9,3.0,1.4"],
        ["5,1;3,5;1", "4,9;3,0;1"],
        ["0.5,True", "0.7,False", "0.1,True"],
    ],
)
def test_a_first_row_of_data_is_no_header(tmp_path: Path, rows: list[str]) -> None:
    """However it is written; the error says how to add one."""
    with pytest.raises(
        DataError, match=r"x\.csv has no header; .* reads like data: .* a name for each of the \d columns"
    ):
        opened(tmp_path, rows)


@pytest.mark.parametrize(
    ("head", "rows", "features"),
    [
        ("age,work,school,sex,income", ADULT, 2),
        ("id,survived,name,sex,age", PASSENGERS, 3),
        ("label,400,410,420", ["a,1,2,5", "b,3,4,6"], 3),  # wavelengths
        (",400,410,420", ["0,1,2,5", "1,3,4,6"], 3),  # and an index
        ("region,2019,2020", ["north,1,2", "south,3,4"], 2),
        ("male,female", ["1,0", "0,1"], 2),
        ("yes,maybe", ["yes,1", "no,2"], 2),
    ],
)
def test_names_are_a_header(tmp_path: Path, head: str, rows: list[str], features: int) -> None:
    """Also where they are numbers that rise, or one is a value too."""
    assert len(opened(tmp_path, rows, head).columns.columns) >= features


def test_files_that_were_joined(tmp_path: Path) -> None:
    """A second header among the rows is a wrong cell, and the first one a header all the same."""
    with pytest.raises(DataError, match="column 'a', row 3: 'a': no number"):
        opened(tmp_path, ["1,2", "a,b", "3,4"], "a,b")


def test_recordings_need_none(tmp_path: Path) -> None:
    """Also where the first row has a date or a word; it is a moment then."""
    rows = [f"2024-01-01 00:00:{at:02d},{at * at % 7},{'walk' if at < 10 else 'run'}" for at in range(20)]
    source = opened(tmp_path, rows, window_length=10)
    assert (source.input_shape, len(source.train)) == ((1, 10), 2)
    assert "no header: columns are called 0 to 2" in source.decided
    assert "1 channel: 1" in source.decided


def test_a_column_without_a_name_is_kept(tmp_path: Path) -> None:
    """Unless it is the first one and an index; the line tells what it is called."""
    rows = [f"{at},{at % 3},{at % 5}.5" for at in range(10)]
    source = opened(tmp_path, rows, "x,,z")
    assert source.columns.features == ("x", "column_2", "z")
    assert "column 2 has no name and is called 'column_2'" in source.decided


@pytest.mark.parametrize(
    "values", [range(10), range(1, 11), [7, 3, 9, 1, 0, 2, 4, 8, 6, 5], [*range(5), *range(5)], "abcdefghij"]
)
def test_an_index_without_a_name(tmp_path: Path, values: list[object]) -> None:
    """It counts, perhaps anew or in disorder, or holds a name for each row."""
    source = opened(tmp_path, [f"{value},{at % 3}" for at, value in enumerate(values)], ",x")
    assert source.columns.features == ("x",)
    assert "'Unnamed: 0' (an index)" in source.decided


@pytest.mark.parametrize("head", [",x", "Unnamed: 0,x"])
def test_a_first_column_that_measures(tmp_path: Path, head: str) -> None:
    """It is no index by its values."""
    generator = np.random.default_rng(0)
    source = opened(tmp_path, [f"{generator.normal():.2f},{at % 3}" for at in range(10)], head)
    assert source.columns.features == ("Unnamed: 0", "x")
    assert "column 1 has no name and is called 'Unnamed: 0'" in source.decided


def test_a_name_that_pandas_made_up(tmp_path: Path) -> None:
    """Of a column that lost its name: it is told, and kept."""
    source = opened(tmp_path, [f"{at},{at % 3}" for at in range(10)], "x,Unnamed: 1")
    assert source.columns.features == ("x", "Unnamed: 1")
    assert "column 2 has no name and is called 'Unnamed: 1'" in source.decided


def test_a_channel_without_a_name(tmp_path: Path) -> None:
    """As in tables."""
    generator = np.random.default_rng(0)
    rows = [f"{at},{generator.normal():.2f},{generator.normal():.2f}" for at in range(20)]
    source = opened(tmp_path, rows, "time,,y", window_length=10)
    assert source.input_shape == (2, 10)
    assert "2 channels: column_2, y" in source.decided


def test_an_empty_column_behind_the_others(tmp_path: Path) -> None:
    """As spreadsheets write it; nothing is trained on it."""
    source = opened(tmp_path, ["1,2,", "3,4,", "5,7,"], "a,b,")
    assert source.columns.features == ("a", "b")
