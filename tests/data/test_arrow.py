"""Parquet files and Hugging Face data sets that lie on the disk."""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.errors import ConfigError, DataError, MissingExtraError


def png(number: int) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (4, 4), (number, number, number)).save(stream, "PNG")
    return stream.getvalue()


def save(path: Path, columns: dict[str, Any]) -> None:
    pyarrow.parquet.write_table(pa.table(columns), path)


@pytest.mark.parametrize("struct", [True, False])
def test_images_in_parquet(tmp_path: Path, struct: bool) -> None:
    """A column of encoded images, plain or as the Hub has it, is decoded when asked for; a broken one is replaced."""
    cells = [png(number) for number in range(5)] + [b"no image"]
    save(tmp_path / "x.parquet", {"image": [{"bytes": c, "path": None} for c in cells] if struct else cells})
    source = open_source(str(tmp_path / "x.parquet"), image_size=4)
    assert (source.name, source.modality, source.input_shape, source.classes) == ("x", "image", (3, 4, 4), None)
    assert [int(source.train[index].max()) for index in range(6)] == [0, 1, 2, 3, 4, 0]
    assert list(source.train.broken) == ["x train, row 5"]


def test_parts_and_labels(tmp_path: Path) -> None:
    """Files are parts by their names, texts are classes."""
    for name, numbers in (("train-0", [1, 2]), ("train-1", [3]), ("test-0", [4])):
        labels = ["odd" if number % 2 else "even" for number in numbers]
        save(tmp_path / f"{name}.parquet", {"image": [png(number) for number in numbers], "label": labels})
    source = open_source(str(tmp_path / "*.parquet"), image_size=4)
    assert source.classes == ("even", "odd")
    assert [(int(image.max()), int(label)) for image, label in source.train] == [(1, 1), (2, 0), (3, 1)]
    assert [(int(image.max()), int(label)) for image, label in source.test] == [(4, 0)]


def test_labelled_images_are_held_out(tmp_path: Path) -> None:
    """Without a test part a share of each class is."""
    save(tmp_path / "x.parquet", {"image": [png(n) for n in range(10)], "label": [n % 2 for n in range(10)]})
    source = open_source(str(tmp_path / "x.parquet"), image_size=4)
    assert (len(source.train), len(source.test)) == (8, 2)
    assert all(int(image.max()) % 2 == int(label) for part in (source.train, source.test) for image, label in part)


def test_numbers_in_parquet(tmp_path: Path) -> None:
    """Columns of numbers are a table; a column of lists is one too, and lists in lists are signals."""
    save(tmp_path / "a.parquet", {"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "name": ["x", "y", "z"], "label": [0, 1, 0]})
    source = open_source(str(tmp_path / "a.parquet"), holdout=0)
    assert (source.modality, source.input_shape, source.classes, source.mean) == ("table", (2,), ("0", "1"), (2.0, 1.5))
    save(tmp_path / "b.parquet", {"x": [[1.0, 2.0], [3.0, 4.0]]})
    assert open_source(str(tmp_path / "b.parquet")).input_shape == (2,)
    save(tmp_path / "c.parquet", {"x": [[[1.0, 2.0, 3.0]] * 2] * 4})
    source = open_source(str(tmp_path / "c.parquet"))
    assert (source.modality, source.input_shape) == ("signal", (2, 3))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a", "b"]}, r"no column to train on; left out: name \(text that differs in every row\)"),
        ({"x": [[1.0], [1.0, 2.0]]}, "from 1 moments .* to 2 .*cut windows"),
        ({"x": [[1.0]], "z": [[1.0]]}, r"several columns of lists \(x, z\)"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    """Each is told with what was expected."""
    save(tmp_path / "x.parquet", columns)
    with pytest.raises(DataError, match=message):
        open_source(str(tmp_path / "x.parquet"))


def test_files_that_are_no_parquet(tmp_path: Path) -> None:
    """A missing, a broken and a differing file are told by name."""
    with pytest.raises(DataError, match=r"no file '.*none.parquet'"):
        open_source(str(tmp_path / "none.parquet"))
    save(tmp_path / "a.parquet", {"a": [1]})
    save(tmp_path / "b.parquet", {"b": [1]})
    with pytest.raises(DataError, match=r"b.parquet has no column 'a', which the training part has; it has: b"):
        open_source(str(tmp_path / "*.parquet"))
    (tmp_path / "b.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"b.parquet cannot be read as Parquet"):
        open_source(str(tmp_path / "*.parquet"))
    save(tmp_path / "b.parquet", {"image": [png(1)]})
    with pytest.raises(ConfigError, match="column 'image' of b holds images"):
        open_source(str(tmp_path / "b.parquet"), modality="signal")


@pytest.fixture
def tiny() -> datasets.DatasetDict:
    """Six labelled images in two parts, with names of classes."""
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["even", "odd", "never"])}
    )
    parts = {
        name: datasets.Dataset.from_dict(
            {"image": [{"bytes": png(n), "path": None} for n in numbers], "label": [n % 2 for n in numbers]}, features
        )
        for name, numbers in (("train", range(4)), ("test", range(4, 6)))
    }
    return datasets.DatasetDict(parts)


def check(source: Any, name: str) -> None:
    assert (source.name, source.input_shape, source.classes) == (name, (3, 4, 4), ("even", "odd", "never"))
    assert [(int(image.max()), int(label)) for image, label in source.train] == [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert [(int(image.max()), int(label)) for image, label in source.test] == [(4, 0), (5, 1)]


def test_a_saved_data_set(tmp_path: Path, tiny: datasets.DatasetDict) -> None:
    """What save_to_disk wrote is opened as hf:FOLDER, with the classes' names; workers share its memory map."""
    tiny.save_to_disk(tmp_path / "saved")
    source = open_source(f"hf:{tmp_path / 'saved'}", image_size=4)
    check(source, "saved")
    images, labels = next(iter(SSLDataModule(source, batch_size=4).train_eval_dataloader()))
    assert images.dtype == torch.uint8
    assert np.array_equal(labels, [0, 1, 0, 1])


def test_a_data_set_by_name(tmp_path: Path, tiny: datasets.DatasetDict, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that was loaded before is found in the library's cache by its name; nothing is asked of the Hub."""
    for name, part in tiny.items():
        part.to_parquet(tmp_path / f"{name}.parquet")
    files = {name: str(tmp_path / f"{name}.parquet") for name in tiny}
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.load_dataset("parquet", data_files=files, cache_dir=tmp_path / "cache")
    built = next((tmp_path / "cache" / "parquet").glob("*/*/*/"))
    where = tmp_path / "cache" / "me___tiny" / "default" / "0.0.0" / built.name
    where.parent.mkdir(parents=True)
    shutil.move(built, where)
    for file in where.glob("parquet-*"):
        file.rename(where / file.name.replace("parquet-", "tiny-"))
    info = where / "dataset_info.json"
    info.write_text(info.read_text().replace('"dataset_name": "parquet"', '"dataset_name": "tiny"'))
    check(open_source("hf:me/tiny", image_size=4), "tiny")


def test_a_data_set_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that fetches it is told, and nothing is fetched."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(DataError, match=r"'no/such' is not on this disk.*load_dataset\('no/such'\)"):
        open_source("hf:no/such")


@pytest.mark.parametrize(
    ("library", "spec", "extra"), [("pyarrow", "x.parquet", "parquet"), ("datasets", "hf:x", "datasets")]
)
def test_without_the_library(library: str, spec: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it is told."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'ssl-registry\[{extra}\]'"):
        open_source(spec)
