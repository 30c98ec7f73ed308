"""The preparation of the Income table."""

from __future__ import annotations

import runpy
from pathlib import Path

from ssl_registry.data import open_source

ROW = (
    "{age}, {work}, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 0, 0, 40, "
    "{land}, {label}\n"
)


def test_rows_categories_and_split(tmp_path):
    """Rows with ? and the test file's first line are left out; an unknown category is zeros; labels lose their dot."""
    prepare = runpy.run_path(str(Path(__file__).parents[1] / "prepare.py"))["prepare"]
    train, test = tmp_path / "adult.data", tmp_path / "adult.test"
    row = ROW.format
    train.write_text(
        row(age=39, work="Private", land="Cuba", label="<=50K")
        + row(age=41, work="State-gov", land="Cuba", label=">50K")
        + row(age=50, work="?", land="Cuba", label=">50K")
    )
    test.write_text(
        "|1x3 Cross validator\n"
        + row(age=40, work="Never-worked", land="Cuba", label=">50K.")
        + row(age=40, work="Private", land="?", label="<=50K.")
    )
    prepare(str(train), str(test), str(tmp_path / "income.npz"))
    source = open_source(str(tmp_path / "income.npz"))
    # Six numbers; two kinds of work, and one value of each of seven other categories.
    assert source.input_shape == (6 + 2 + 7,)
    assert (len(source.train), len(source.test), source.classes) == (2, 1, ("0", "1"))
    assert source.train.y.tolist() == [0, 1]
    assert source.train.x[:, 0].tolist() == [-1, 1]
    assert source.test.y.tolist() == [1]
    assert source.test.x[0, 0] == 0
    assert source.test.x[0, 6:8].tolist() == [-1, -1]
