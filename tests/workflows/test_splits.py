"""Which rows of `embed` and `predict` a run was trained on, and which it held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

import ssl_registry
from ssl_registry.data import open_source
from ssl_registry.runs.opened import open_run
from ssl_registry.workflows.rows import open_rows


def trained_on(run: Path, data: Path) -> Path:
    """Let a run of grey images say that these are its data."""
    file = run / "config.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "data": str(data)}))
    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty grey images of two classes, whose names are in another order than their parts."""
    rng = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16)).astype(np.uint8)).save(path)
    return tmp_path / "photos"


def test_images_that_were_held_out(run: Path, photos: Path, tmp_path: Path) -> None:
    """The run's own test part, in the order of the folder; a broken file has no row in either part."""
    held = open_source(str(photos)).test
    assert held is not None
    names = {held.name(index) for index in range(len(held))}
    broken = min(names)
    Path(str(broken)).write_bytes(b"broken")
    result = ssl_registry.embed(trained_on(run, photos), out=tmp_path / "e.parquet", workers=0)
    rows = pq.read_table(tmp_path / "e.parquet").to_pylist()
    assert (len(rows), result.unreadable) == (19, 1)
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert {row["path"] for row in rows if row["split"] == "test"} == names - {broken}
    assert {row["split"] for row in rows} == {"train", "test"}


def test_rows_of_an_array_keep_their_numbers(run: Path, tmp_path: Path) -> None:
    """What was held out is told, and moves nothing."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 1, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", X=images, y=np.arange(60) % 3)
    opened = open_run(trained_on(run, tmp_path / "x.npz"))
    source, (rows,) = open_rows(opened, None, {})
    assert [rows.samples.row(place) for place in range(60)] == list(range(60))
    assert np.array_equal(rows.samples[7][0].numpy(), images[7])
    assert source.test is not None
    held = {source.test.row(place) for place in range(len(source.test))}
    assert {place for place in range(60) if rows.split(place) == "test"} == held
    assert len(held) == 12


def test_other_data_tell_their_own_parts_or_nothing(run: Path, photos: Path, tmp_path: Path) -> None:
    """Nobody knows of new samples whether they are for training."""
    opened = open_run(run)
    _, sets = open_rows(opened, str(photos), {})
    assert [(len(part.samples), part.split(0)) for part in sets] == [(20, None)]
    for part in ("train", "val"):
        (photos / part).mkdir()
    for index, path in enumerate(sorted(photos.glob("*/*.png"))):
        target = photos / ("train", "val")[index % 5 == 0] / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    for folder in ("cat", "dog"):
        (photos / folder).rmdir()
    _, sets = open_rows(opened, str(photos), {})
    assert [(len(part.samples), part.split(0)) for part in sets] == [(16, "train"), (4, "test")]


def test_predictions_tell_it_too(run: Path, tmp_path: Path) -> None:
    """In a table and as an array; of data with parts of their own as they are."""
    ssl_registry.finetune(run, labels=0.05, epochs=1, trainer={"accelerator": "cpu"})
    ssl_registry.predict(run, out=tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv")
    assert table["split"].tolist() == ["train"] * 1300 + ["test"] * 497
    assert list(table.columns[:5]) == ["id", "path", "split", "label", "prediction"]
    ssl_registry.predict(run, out=tmp_path / "p.npz")
    assert np.load(tmp_path / "p.npz")["split"].tolist() == table["split"].tolist()


def test_a_misspelt_option_is_refused(run: Path, tmp_path: Path) -> None:
    """As Python refuses an argument."""
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'label_colum'\. Did you mean 'label_column'"):
        ssl_registry.embed(run, out=tmp_path / "e.parquet", label_colum="y")  # type: ignore[call-arg]
