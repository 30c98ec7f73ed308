"""A run on a table of words and gaps, and what comes after it: other files are read by the run's columns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import ssl_registry
from ssl_registry import registry
from ssl_registry.data import open_source
from ssl_registry.errors import DataError
from ssl_registry.workflows.export import writing

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "Unnamed: 0": range(40),
        "size": np.where(np.arange(40) % 7 == 0, np.nan, RNG.normal(size=40)),
        "color": RNG.choice(["red", "blue"], 40),
        "kind": ["a", "b", "c", None] * 10,
        "is_test": ([True] + [False] * 3) * 10,
    }
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and its table."""
    folder = tmp_path_factory.mktemp("table")
    TABLE.to_csv(folder / "x.csv", index=False)
    limits = {"accelerator": "cpu", "enable_progress_bar": False, "limit_train_batches": 1}
    ssl_registry.train(
        "simclr",
        data=str(folder / "x.csv"),
        label_column="kind",
        drop_columns="Unnamed: 0",
        epochs=1,
        batch_size=16,
        out=folder / "run",
        knn=True,
        report=True,
        trainer=limits,
    )
    return folder / "run", folder / "x.csv"


def test_ids_are_rows_of_the_file(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """In its order, with both parts, so that a join is right; rows without a label have none."""
    run, file = trained
    ssl_registry.embed(run, out=tmp_path / "e.parquet")
    found = pq.read_table(tmp_path / "e.parquet").to_pandas()
    assert found["id"].tolist() == list(range(40))
    assert set(found["path"]) == {str(file)}
    labels = [None if pd.isna(label) else label for label in found["label"]]
    assert labels == [None if pd.isna(label) else label for label in TABLE["kind"]]
    source = open_source(str(file), label_column="kind", drop_columns="Unnamed: 0")
    vector = registry.load(run).embed(source.test.x[1:2])[0]
    assert torch.allclose(torch.tensor(found["vector"][4]), vector, atol=1e-5)


def test_another_file(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Rows of it get the vectors that they would have in the table; unknown words and other columns do not matter."""
    run, _ = trained
    ssl_registry.embed(run, out=tmp_path / "whole.parquet")
    part = TABLE.iloc[[9, 3, 17]].drop(columns=["kind", "is_test", "Unnamed: 0"])[["color", "size"]]
    part.assign(extra="x").to_csv(tmp_path / "new.csv", index=False)
    ssl_registry.embed(run, out=tmp_path / "new.parquet", data=str(tmp_path / "new.csv"))
    whole, new = (pq.read_table(tmp_path / f"{name}.parquet").to_pandas()["vector"] for name in ("whole", "new"))
    for row, vector in zip((9, 3, 17), new, strict=True):
        np.testing.assert_allclose(vector, whole[row], atol=1e-5)
    part.assign(color="green").to_csv(tmp_path / "new.csv", index=False)
    assert ssl_registry.embed(run, out=tmp_path / "new.parquet", data=str(tmp_path / "new.csv")).rows == 3
    part.drop(columns="size").to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match=r"new\.csv has no column 'size', which the training part has"):
        ssl_registry.embed(run, out=tmp_path / "new.parquet", data=str(tmp_path / "new.csv"))


def test_evaluated_on_what_has_labels(trained: tuple[Path, Path]) -> None:
    """Rows without one are no class."""
    result = ssl_registry.evaluate(trained[0], cache=False)
    labeled = TABLE["kind"].notna()
    assert result.train == int((labeled & ~TABLE["is_test"]).sum())


def test_classes_of_new_rows(trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fitted columns go with the classifier: into a prediction of other rows, and into an export."""
    monkeypatch.setattr(writing, "largest_difference", lambda *_: 0.0)
    run, _ = trained
    file = tmp_path / "kinds.safetensors"
    ssl_registry.finetune(run, epochs=1, out=file, trainer={"accelerator": "cpu"})
    whole = ssl_registry.predict(file, out=tmp_path / "whole.csv")
    assert whole.classes == ("a", "b", "c")
    assert pd.read_csv(tmp_path / "whole.csv")["label"].isna().sum() == 10
    TABLE.iloc[[9, 3, 17]][["color", "size"]].to_csv(tmp_path / "new.csv", index=False)
    ssl_registry.predict(file, data=str(tmp_path / "new.csv"), out=tmp_path / "p.csv")
    names = [f"p_{name}" for name in whole.classes]
    wanted = pd.read_csv(tmp_path / "whole.csv").iloc[[9, 3, 17]][names]
    np.testing.assert_allclose(pd.read_csv(tmp_path / "p.csv")[names], wanted, atol=1e-5)
    facts = json.loads((ssl_registry.export(file, format="torch").folder / "config.json").read_text())
    assert facts["features"] == ["size", "size is missing", "color=blue", "color=red"]
    assert facts["label_names"] == ["a", "b", "c"]
    assert [column["name"] for column in facts["table"]["columns"]] == ["size", "color"]


def test_photographs_are_told_apart_from_the_table(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """In words, not by two shapes alone."""
    run, _ = trained
    with pytest.raises(
        DataError, match=r"was trained on a table of \d+ features; digits has images of 1 x 16 x 16; give"
    ):
        ssl_registry.embed(run, out=tmp_path / "e.parquet", data="digits")
