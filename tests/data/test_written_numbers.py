"""Numbers with signs of currencies, per cent and separated thousands; labels that a part of the samples lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_registry.data import DataOptions, open_source
from ssl_registry.errors import DataError


def table(folder: Path, name: str = "x.csv", **columns: list[object]) -> str:
    pd.DataFrame(columns).to_csv(folder / name, index=False)
    return str(folder / name)


@pytest.mark.parametrize(
    ("cells", "numbers", "told"),
    [
        (["$1,234.50", "$20", "$3.5", "-$7"], [1234.5, 20, 3.5, -7], "'v' is read as numbers of $"),
        (["10%", "12.5 %", "7%", "3%"], [10, 12.5, 7, 3], "'v' is read as numbers of %"),
        (["5 €", "7 €", "1.5 €", "9 €"], [5, 7, 1.5, 9], "'v' is read as numbers of €"),
        (
            ["1.234,50 €", "7 €", "0,5 €", "-9,25 €"],
            [1234.5, 7, 0.5, -9.25],
            "of €, a comma before the decimals",
        ),
        (["1.234.567", "89", "1.000", "7,5"], [1234567, 89, 1000, 7.5], "'v' is read as numbers, a comma before"),
        (["1 000", "2 000", "12", "3 500 000"], [1000, 2000, 12, 3.5e6], "'v' is read as numbers"),
        (["1'000", "12", "7'000", "5"], [1000, 12, 7000, 5], "'v' is read as numbers"),
        (["(5)", "7", "(9)", "1"], [-5, 7, -9, 1], "'v' is read as numbers"),
    ],
)
def test_written_numbers(tmp_path: Path, cells: list[str], numbers: list[float], told: str) -> None:
    """They are one feature, and the line says so."""
    source = open_source(table(tmp_path, v=cells, a=[0.5, 2, 1, 4]), standardize=False)
    assert source.train.x[:, 0].tolist() == pytest.approx(numbers)
    assert told in source.decided


def test_other_files_are_read_alike(tmp_path: Path) -> None:
    """By what the run recorded; a cell that is no number is named with its row."""
    first = open_source(table(tmp_path, v=["$1", "$2", "$4"]), standardize=False)
    options = DataOptions(standardize=False).with_columns(first.columns)
    assert open_source(table(tmp_path, "y.csv", v=["$1,000", "8"]), options).train.x[:, 0].tolist() == [1000, 8]
    with pytest.raises(DataError, match=r"y.csv, column 'v', row 3: '€8': no number"):
        open_source(table(tmp_path, "y.csv", v=["$5", "€8"]), options)


def test_what_stays_words_is_told(tmp_path: Path) -> None:
    """Units and mixed currencies begin like numbers, and are none."""
    source = open_source(
        table(tmp_path, v=["5 kg", "7 kg", "5 kg", "7 kg"], w=["$5", "€5", "$5", "€5"], a=[1, 2, 3, 5])
    )
    assert "'v' is read as words, such as '5 kg'" in source.decided
    assert source.input_shape == (5,)


def test_labels_that_the_test_part_lacks_are_counted(tmp_path: Path) -> None:
    """They are -1, never a class, and the line says how many nothing measures."""
    x = np.random.default_rng(0).normal(size=(24, 3))
    np.savez(tmp_path / "x.npz", X_train=x, y_train=[0, 1, 2] * 8, X_test=x[:8], y_test=[0, 1, 2, -1] * 2)
    source = open_source(str(tmp_path / "x.npz"))
    assert source.classes == ("0", "1", "2")
    assert source.test.y.tolist() == [0, 1, 2, -1] * 2
    assert "test: 1 file, 8 samples, 2 of them without a label, which nothing measures" in source.decided
