"""Tables as people have them: words, booleans, dates and gaps; over several files; as a run recorded them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ssl_registry.data import DataOptions, Source, open_source
from ssl_registry.errors import DataError

MIXED = pd.DataFrame(
    {
        "age": [20.0, np.nan, 40.0, 60.0] * 5,
        "color": ["red", "blue", None, "red"] * 5,
        "member": [True, False, True, True] * 5,
        "since": ["2020-01-01", "2020-01-03", "2020-01-02", "2020-01-01"] * 5,
        "class": ["a", "b", "a", "b"] * 5,
    }
)


def save(path: Path, frame: pd.DataFrame, **more: Any) -> str:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False, **more)
    else:
        frame.to_parquet(path, **more)
    return str(path)


def raw(part: Any, source: Source) -> np.ndarray:
    return part.x.double().numpy() * np.array(source.std) + np.array(source.mean)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_kind_of_column(tmp_path: Path, suffix: str) -> None:
    """Numbers with their gaps filled and marked, a feature for each word, booleans as 0 and 1, dates as days."""
    source = open_source(save(tmp_path / f"x{suffix}", MIXED), holdout=0)
    assert source.columns.features == (
        *("age", "age is missing", "color=blue", "color=red", "color is missing"),
        *("member", "since"),
    )
    expected = [[20, 0, 0, 1, 0, 1, 18262], [40, 1, 1, 0, 0, 0, 18264], [40, 0, 0, 0, 1, 1, 18263]]
    np.testing.assert_allclose(raw(source.train, source)[:3], expected, atol=1e-2)
    assert "label: 'class' (2 classes)" in source.decided
    assert "4 columns become 7 features" in source.decided


def test_fitted_on_the_training_part_alone(tmp_path: Path) -> None:
    """The test part's words are unknown: zero in all features; its numbers move no median and no mean."""
    frame = pd.DataFrame(
        {
            "word": ["a", "b", "a", "b", "new"],
            "number": [1.0, np.nan, 3.0, 5.0, 1000.0],
            "is_test": [0, 0, 0, 0, 1],
        }
    )
    source = open_source(save(tmp_path / "x.csv", frame))
    assert source.columns.features == ("word=a", "word=b", "number", "number is missing")
    assert source.columns.columns[1].fill == 3.0
    np.testing.assert_allclose(raw(source.test, source), [[0, 0, 1000, 0]], atol=1e-3)
    assert source.mean[2] == 3.0


def test_what_is_held_out_is_not_fitted_on(tmp_path: Path) -> None:
    """A share that is held out here is as unknown as a test part of its own."""
    frame = pd.DataFrame({"word": [f"w{i % 30}" for i in range(60)], "label": [i % 2 for i in range(60)]})
    source = open_source(save(tmp_path / "x.csv", frame), holdout=0.4)
    words = {value for column in source.columns.columns for value in column.categories}
    kept = {f"w{int(row) % 30}" for row in source.train.origin.row}
    assert words == kept
    assert (raw(source.test, source).round().sum(1) == 0).any()


def test_very_many_words(tmp_path: Path) -> None:
    """The 40 most frequent have a feature each, the rest share one; text that differs in every row is left out."""
    words = [f"w{i:02d}" for i in range(40) for _ in range(5)] + [f"rare{i}" for i in range(30)] * 2
    frame = pd.DataFrame({"word": words, "name": [f"n{i}" for i in range(len(words))], "x": range(len(words))})
    source = open_source(save(tmp_path / "x.csv", frame))
    assert len(source.columns.features) == 42
    assert raw(source.train, source)[:, 40].sum().round() == 60
    assert "'name' (text that differs in every row)" in source.decided


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_are_told_by_name(tmp_path: Path, suffix: str) -> None:
    """The test file has them in another order, and one of its own."""
    rng = np.random.default_rng(0)
    train = pd.DataFrame({"a": rng.normal(size=20), "b": rng.normal(5, 2, 20), "label": np.arange(20) % 2})
    save(tmp_path / f"train{suffix}", train)
    save(tmp_path / f"test{suffix}", train[["label", "b", "a"]].assign(extra=1))
    source = open_source(str(tmp_path / f"*{suffix}"))
    assert torch.equal(source.train.x, source.test.x)
    assert torch.equal(source.train.y, source.test.y)
    assert "test" + suffix + ": extra' (the training part has no such column)" in source.decided


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_column_is_an_error(tmp_path: Path, suffix: str) -> None:
    """Whatever else the file has."""
    save(tmp_path / f"train{suffix}", pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 3.0]}))
    save(tmp_path / f"test{suffix}", pd.DataFrame({"a": [1.0, 2.0], "c": [1.0, 3.0]}))
    with pytest.raises(DataError, match=rf"test{suffix} has no column 'b', which the training part has; it has: a, c"):
        open_source(str(tmp_path / f"*{suffix}"))


def test_an_index_of_pandas(tmp_path: Path) -> None:
    """With a name or without one, in Parquet and in CSV."""
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0]}, index=[7, 8, 9])
    frame.to_parquet(tmp_path / "x.parquet")
    frame.rename_axis("time of day").to_parquet(tmp_path / "named.parquet")
    frame.to_csv(tmp_path / "x.csv")
    for name, column in (("x.parquet", "__index_level_0__"), ("named.parquet", "time of day"), ("x.csv", "Unnamed: 0")):
        source = open_source(str(tmp_path / name))
        assert source.input_shape == (1,)
        assert f"left out: '{column}' (an index)" in source.decided


def test_a_column_that_numbers_the_rows(tmp_path: Path) -> None:
    """By its name and its values: an id that repeats is a feature."""
    frame = pd.DataFrame({"PassengerId": [3, 1, 2], "a_id": [1, 1, 2], "x": [1.0, 2.0, 3.0]})
    source = open_source(save(tmp_path / "x.csv", frame))
    assert source.columns.features == ("a_id", "x")
    assert "'PassengerId' (it numbers the rows)" in source.decided


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("marks", "counts"),
    [
        ([False, True, True], (1, 2)),
        ([0, 1, 1], (1, 2)),
        (["no", "yes", "yes"], (1, 2)),
        (["False", "TRUE", "true"], (1, 2)),
        ([0, 0, 0], (3, None)),
        ([True, True, True], (3, None)),
    ],
)
@pytest.mark.parametrize("name", ["is_test", "Is_Test"])
def test_marks_of_the_test_part(tmp_path: Path, suffix: str, marks: list[Any], counts: Any, name: str) -> None:
    """Booleans, numbers and words; where all are alike there is one part."""
    source = open_source(save(tmp_path / f"x{suffix}", pd.DataFrame({"a": [1.0, 2.0, 3.0], name: marks})))
    assert (len(source.train), None if source.test is None else len(source.test)) == counts
    assert source.input_shape == (1,)


def test_marks_that_are_none(tmp_path: Path) -> None:
    """They are told."""
    with pytest.raises(DataError, match="column 'is_test' holds 0, 2, 5; expected 0 and 1"):
        open_source(save(tmp_path / "x.csv", pd.DataFrame({"a": [1, 2, 3], "is_test": [0, 2, 5]})))


def test_a_column_of_words_for_parts(tmp_path: Path) -> None:
    """`split` decides by its words; one whose values are no parts is a feature."""
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "split": ["Train", "train", "val", "test"]})
    source = open_source(save(tmp_path / "x.csv", frame))
    assert (len(source.train), len(source.test), source.input_shape) == (2, 1, (1,))
    assert "'split=validation' (1 rows of a second held-out part)" in source.decided
    frame["split"] = ["up", "down", "up", "down"]
    assert open_source(save(tmp_path / "x.csv", frame)).input_shape == (3,)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
@pytest.mark.parametrize(
    ("y", "task", "classes", "known"),
    [
        ([0.5, 1.5, 2.5, 4.0], "regression", None, 4),
        ([0.5, np.nan, 2.5, 4.0], "regression", None, 3),
        ([0.0, 1.0, 1.0, 0.0], "classification", ("0", "1"), 4),
        ([0.0, 1.0, np.nan, 0.0], "classification", ("0", "1"), 3),
        ([0, 1, 2, -1], "classification", ("0", "1", "2"), 3),
        ([-1, 1, 1, -1], "classification", ("-1", "1"), 4),
        ([-1, 0, 1, 0], "classification", ("-1", "0", "1"), 4),
        ([-1, -1, -1, -1], "classification", None, 0),
        (["cat", "dog", "", "cat"], "classification", ("cat", "dog"), 3),
    ],
)
def test_labels_alike_in_every_format(
    tmp_path: Path, suffix: str, y: list[Any], task: str, classes: Any, known: int
) -> None:
    """Fractions are numbers to predict, whole numbers and words are classes, gaps and -1 are no label."""
    x = np.arange(8.0).reshape(4, 2)
    path = tmp_path / f"x{suffix}"
    if suffix == ".npz":
        np.savez(path, X=x, y=np.array(y))
    else:
        save(path, pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "target": y}))
    source = open_source(str(path), holdout=0)
    assert (source.task, source.classes, source.input_shape) == (task, classes, (2,))
    if not known:
        assert source.train.y is None
    else:
        there = ~source.train.y.isnan() if task == "regression" else source.train.y >= 0
        assert int(there.sum()) == known


def test_a_test_part_without_labels(tmp_path: Path) -> None:
    """Kaggle's form: it is not used, a share of the train part is held out, and both are told."""
    train = pd.DataFrame({"a": range(20), "Survived": [0, 1] * 10})
    save(tmp_path / "train.csv", train)
    save(tmp_path / "test.csv", train[["a"]])
    source = open_source(str(tmp_path / "*.csv"), label_column="survived")
    assert (len(source.train), len(source.test), source.classes) == (16, 4, ("0", "1"))
    assert "test.csv' (a test part of 20 samples without labels)" in source.decided


def test_unlabelled_rows_are_never_held_out(tmp_path: Path) -> None:
    """They are trained on; what is held out can be measured."""
    frame = pd.DataFrame({"a": range(30), "label": ["x", "y", None] * 10})
    source = open_source(save(tmp_path / "x.csv", frame))
    assert (len(source.train), len(source.test)) == (26, 4)
    assert int((source.train.y == -1).sum()) == 10
    assert int(source.test.y.min()) == 0


def test_another_file_as_a_run_recorded(tmp_path: Path) -> None:
    """It is read by the run's columns: other words are unknown, other columns unused, gaps filled by its medians."""
    source = open_source(save(tmp_path / "x.csv", MIXED), holdout=0)
    other = pd.DataFrame({"extra": [1], "since": [None], "member": ["no"], "color": ["green"], "age": [np.nan]})
    options = DataOptions(standardize=(source.mean, source.std)).with_columns(source.columns)
    found = open_source(save(tmp_path / "other.csv", other), options)
    np.testing.assert_allclose(raw(found.train, source), [[40, 1, 0, 0, 0, 0, 18262.5]], atol=1e-2)
    assert "'extra' (not trained on)" in found.decided
    with pytest.raises(DataError, match="has no column 'age', which the training part has"):
        open_source(save(tmp_path / "other.csv", other.drop(columns="age")), options)


def test_labels_of_another_file(tmp_path: Path) -> None:
    """The run's column of labels is that of other files too; another one can be said, a feature among them."""
    source = open_source(save(tmp_path / "x.csv", MIXED.rename(columns={"class": "kind"})), label_column="kind")
    options = DataOptions().with_columns(source.columns)
    other = save(tmp_path / "y.csv", MIXED.rename(columns={"class": "kind"}))
    assert open_source(other, options).classes == ("a", "b")
    found = open_source(other, options, label_column="color", holdout=0)
    assert (found.classes, found.input_shape) == (("blue", "red"), source.input_shape)


def test_rows_know_their_file(tmp_path: Path) -> None:
    """Their number in it, whatever part they are in."""
    frame = pd.DataFrame({"a": range(4), "is_test": [1, 0, 1, 0]})
    source = open_source(save(tmp_path / "x.csv", frame))
    assert [[part.row(i) for i in range(2)] for part in (source.train, source.test)] == [[1, 3], [0, 2]]
    assert source.test.name(0) == str(tmp_path / "x.csv")


def test_moments_of_signals_by_other_names(tmp_path: Path) -> None:
    """A row a moment: by the usual names, by the user's, and as a table where every value stands in one row."""
    rows = [(f"r{n}", t, np.sin(n + t), np.cos(n + t), "ab"[n % 2]) for n in range(8) for t in range(6)]
    frame = pd.DataFrame(rows, columns=["recording", "time", "x", "y", "activity"])
    frame.to_csv(tmp_path / "x.csv", index=False)
    source = open_source(str(tmp_path / "x.csv"), label_column="activity", holdout=0.25)
    assert (source.modality, source.input_shape, source.classes) == ("signal", (2, 6), ("a", "b"))
    assert (len(source.train), len(source.test)) == (6, 2)
    assert "signals by 'recording', in order of 'time'" in source.decided
    frame.rename(columns={"recording": "person"}).to_csv(tmp_path / "p.csv", index=False)
    table = open_source(str(tmp_path / "p.csv"), label_column="activity")
    assert table.modality == "table"
    assert "--data.sample COLUMN tells these apart" in table.decided
    named = open_source(str(tmp_path / "p.csv"), label_column="activity", sample_column="person", holdout=0.25)
    assert (named.modality, named.input_shape) == ("signal", (2, 6))
    frame.assign(recording=range(48)).to_csv(tmp_path / "t.csv", index=False)
    assert open_source(str(tmp_path / "t.csv")).modality == "table"


def test_a_table_without_labels_says_how_to_name_them(tmp_path: Path) -> None:
    """A label of an unusual name would be a feature, unseen."""
    pd.DataFrame({"a": range(9), "income": ["low", "high", "low"] * 3}).to_csv(tmp_path / "x.csv", index=False)
    source = open_source(str(tmp_path / "x.csv"))
    assert "label: none (--data.label COLUMN names it)" in source.decided
