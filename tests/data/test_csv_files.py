"""Tables and signals in .csv."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_registry.data import open_source
from ssl_registry.errors import DataError


def written(folder: Path, text: str) -> str:
    (folder / "x.csv").write_text(text)
    return str(folder / "x.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table(tmp_path: Path, separator: str) -> None:
    """One row is a sample; label and is_test are no features."""
    text = "a,label,b,is_test\n1,cat,2.5,0\n3,dog,4.5,0\n\n5,cat,6.5,1\n"
    source = open_source(written(tmp_path, text.replace(",", separator)))
    assert (source.modality, source.input_shape, source.classes) == ("table", (2,), ("cat", "dog"))
    assert (len(source.train), len(source.test)) == (2, 1)
    assert source.mean == (2.0, 3.5)
    assert int(source.test[0][1]) == 0


def test_signals(tmp_path: Path) -> None:
    """With a column `sample` a row is a moment: rows of one sample make a signal, other columns are its channels."""
    rows = "".join(
        f"{name},{t},{base + t},{-t},{label}\n" for name, base, label in (("a", 0, 1), ("b", 10, 0)) for t in range(3)
    )
    source = open_source(written(tmp_path, "sample,time,x,y,label\n" + rows), holdout=0)
    assert (source.modality, source.input_shape, source.classes) == ("signal", (2, 3), ("0", "1"))
    raw = source.train.x * torch.tensor(source.std)[:, None] + torch.tensor(source.mean)[:, None]
    assert raw.round().tolist() == [[[0, 1, 2], [0, -1, -2]], [[10, 11, 12], [0, -1, -2]]]
    assert source.train.y.tolist() == [1, 0]


def test_time_orders_the_rows_of_a_signal(tmp_path: Path) -> None:
    """Whatever the file's order; samples are in the order in which they are first named. Words are no times."""
    rows = ["b,10,1", "a,3,4", "b,9,0", "a,20,5", "b,11,2", "a,1,3"]
    source = open_source(written(tmp_path, "sample,time,x\n" + "\n".join(rows)))
    assert [x.flatten().argsort().tolist() for x in source.train] == [[0, 1, 2], [0, 1, 2]]
    assert [float(x.mean()) < 0 for x in source.train] == [True, False]
    worded = open_source(written(tmp_path, "sample,time,x\n" + "\n".join(row.replace(",", ",at", 1) for row in rows)))
    assert worded.train[0].flatten().argsort().tolist() == [1, 0, 2]


def test_rows_that_are_signals(tmp_path: Path) -> None:
    """Without that column a row can be a signal of one channel, if it is said."""
    source = open_source(written(tmp_path, "0s,1s,2s\n1,2,3\n4,5,7\n"), modality="signal")
    assert (source.modality, source.input_shape) == ("signal", (1, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no header"),
        ("1,2\n3,4\n", "no header; expected a first line with the columns' names"),
        ("a,b\n1,2\n3\n", "row 3: 1 cells; expected 2"),
        ("a,a\n1,2\n", "two columns of one name"),
        ("a,b\n1,2\n3,red\n", "column 'b', row 3: 'red': no number"),
        ("a\n", "has no rows"),
        ("label\ncat\n", "has no column to train on"),
        ("sample,x\n0,1\n0,2\n1,3\n", "from 1 moments .1. to 2 .0., .* cut windows"),
        ("sample,x,label\n0,1,a\n0,2,b\n", "rows of sample '0' differ in their label"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, message: str) -> None:
    """Each names the line or column, and what was expected."""
    with pytest.raises(DataError, match=message):
        open_source(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", "{path}, row 3: 1 cells; expected 2, as the header has"),
        (
            "label\ncat\n",
            "{path} has no column to train on; expected columns of numbers, words or dates, and rows. It has: "
            "label (text)",
        ),
        (
            "label,class\n1,2024-01-01\n",
            "{path} has no column to train on; expected columns of numbers, words or dates, and "
            "rows. It has: label (numbers), class (dates)",
        ),
    ],
)
def test_messages_name_the_file_once_and_no_types_of_pandas(tmp_path: Path, text: str, message: str) -> None:
    """In words, as a whole."""
    path = written(tmp_path, text)
    with pytest.raises(DataError) as raised:
        open_source(path)
    assert str(raised.value) == message.format(path=path)


def test_a_file_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    """As the system words it, without its number."""
    with pytest.raises(DataError) as raised:
        open_source(str(tmp_path / "*.csv"))
    assert str(raised.value).startswith(f"{tmp_path}/*.csv cannot be read as a table (No such file or directory)")
