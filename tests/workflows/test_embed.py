"""`embed`: a row for each sample, in constant memory, going on where it stopped."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import ssl_registry
from ssl_registry import registry
from ssl_registry.data import open_source
from ssl_registry.errors import ConfigError, DataError, SSLRegistryError
from ssl_registry.workflows import embed as embedding


@pytest.fixture
def file(tmp_path):
    return tmp_path / "embeddings.parquet"


@pytest.fixture
def scans(tmp_path):
    """Three hundred random images with labels, as a file."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 1, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "scans.npz", X=images, y=rng.integers(0, 3, 300))
    return str(tmp_path / "scans.npz")


def test_rows_of_digits(run, file):
    """Every scan has its id, its label's name, and the vector that `embed` of the model gives."""
    result = ssl_registry.embed(run, out=file)
    table = pq.read_table(file)
    assert (result.rows, result.resumed, result.unreadable) == (1797, 0, 0)
    assert table.column_names == ["id", "path", "split", "label", "vector"]
    assert table["id"].to_pylist() == list(range(1797))
    assert set(table["path"].to_pylist()) == {None}
    source = open_source("digits")
    x, y = source.test[3]
    assert table["label"][1300 + 3].as_py() == source.classes[int(y)]
    expected = registry.load(run).embed(x)
    assert torch.allclose(torch.tensor(table["vector"][1300 + 3].as_py()), expected, atol=1e-5)
    assert list(file.parent.glob("*.pieces")) == []


def test_goes_on_where_it_stopped(run, file, scans, monkeypatch):
    """Finished pieces are kept, the rest is computed, and the file is as of one go."""
    monkeypatch.setattr(embedding, "PIECE", 80)
    ssl_registry.embed(run, out=file, data=scans)
    whole = pq.read_table(file)
    file.unlink()
    write, made = embedding._write, []

    def stop_at_third(*arguments):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(write(*arguments))

    monkeypatch.setattr(embedding, "_write", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        ssl_registry.embed(run, out=file, data=scans)
    assert not file.exists()
    monkeypatch.setattr(embedding, "_write", write)
    result = ssl_registry.embed(run, out=file, data=scans)
    assert (result.rows, result.resumed) == (300, 160)
    assert pq.read_table(file).equals(whole)


def test_other_weights_start_anew(run, file, scans):
    """Pieces of another checkpoint are never gone on with."""
    pieces = file.with_name(f"{file.name}.pieces")
    pieces.mkdir()
    (pieces / "made_from.json").write_text("something else")
    (pieces / "000000.parquet").write_bytes(b"other rows")
    assert ssl_registry.embed(run, out=file, data=scans).resumed == 0


def test_two_devices_give_the_same(run, file, scans, tmp_path):
    """Batches shared out among devices come back in order."""
    ssl_registry.embed(run, out=file, data=scans, batch_size=64, devices="cpu")
    ssl_registry.embed(run, out=tmp_path / "two.parquet", data=scans, batch_size=64, devices="cpu,cpu")
    assert pq.read_table(file).equals(pq.read_table(tmp_path / "two.parquet"))


def test_folder_of_images(run, file, tmp_path):
    """Rows carry the paths; labels where there are class folders; a broken file has no row, and no other's vector."""
    for index, name in enumerate(["cat/a.png", "cat/b.png", "dog/c.png", "dog/d.png"]):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20), index * 60, np.uint8)).save(path)
    (tmp_path / "photos/cat/b.png").write_bytes(b"broken")
    result = ssl_registry.embed(run, out=file, data=str(tmp_path / "photos"), workers=0)
    rows = pq.read_table(file).to_pylist()
    assert [(row["id"], row["path"].rpartition("/")[2], row["label"]) for row in rows] == [
        (0, "a.png", "cat"),
        (2, "c.png", "dog"),
        (3, "d.png", "dog"),
    ]
    assert (result.rows, result.unreadable) == (3, 1)


def test_memory_does_not_grow_with_the_rows(run, file, scans, monkeypatch):
    """No more than a piece is written, or read back, at a time."""
    monkeypatch.setattr(embedding, "PIECE", 70)
    seen = []
    write = pq.write_table
    monkeypatch.setattr(
        pq, "write_table", lambda table, *rest, **more: seen.append(table.num_rows) or write(table, *rest, **more)
    )
    read = pq.read_table
    monkeypatch.setattr(pq, "read_table", lambda path: seen.append(read(path).num_rows) or read(path))
    ssl_registry.embed(run, out=file, data=scans, batch_size=50)
    assert max(seen) == 70


def test_full_disk_leaves_no_half_file(run, file, scans, small_disk):
    """One line tells it; what was there before stays."""
    file.write_text("of before")
    small_disk(50_000)
    with pytest.raises(SSLRegistryError, match="cannot be written"):
        ssl_registry.embed(run, out=file, data=scans)
    assert file.read_text() == "of before"
    assert not list(file.parent.rglob("*.part"))


def test_wrong_place(run, tmp_path):
    """A folder cannot be the file."""
    with pytest.raises(ConfigError, match="is a folder"):
        ssl_registry.embed(run, out=tmp_path)


def test_without_pyarrow(run, file, monkeypatch):
    """Its absence answers with the command that installs it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SSLRegistryError, match=r"pip install 'ssl-registry\[parquet\]'"):
        ssl_registry.embed(run, out=file)


def test_checkpoint_outside_of_a_run(run, file, scans, tmp_path):
    """It needs its data named."""
    checkpoint = shutil.copy(run / "checkpoints" / "last.ckpt", tmp_path / "alone.ckpt")
    with pytest.raises(ConfigError, match="give --data"):
        ssl_registry.embed(checkpoint, out=file)
    assert ssl_registry.embed(checkpoint, out=file, data=scans).rows == 300


@pytest.fixture
def recordings(tmp_path):
    """Write signals, some and scaled, as arrays; return a run of LFR on all of them."""
    x = 3 + 2 * np.random.default_rng(0).standard_normal((40, 2, 32)).astype(np.float32)
    np.savez(tmp_path / "all.npz", X=x, y=np.arange(40) % 2)
    np.savez(tmp_path / "few.npz", X=x[5:8])
    np.savez(tmp_path / "louder.npz", X=10 * x)
    np.savez(tmp_path / "longer.npz", X=np.concatenate([x, x], 2))
    options = {"num_candidates": 4, "num_targets": 2, "projection_dim": 8, "selection_batch_size": 8}
    given = {"epochs": 1, "batch_size": 8, "knn": False, "report": False, "out": tmp_path / "run"}
    quiet = {"enable_progress_bar": False, "accelerator": "cpu"}
    return ssl_registry.train("lfr", data=str(tmp_path / "all.npz"), options=options, trainer=quiet, **given).run


def vectors(run, data, out):
    ssl_registry.embed(run, out=out, data=str(data))
    return torch.tensor(pq.read_table(out)["vector"].to_pylist())


def test_signals_are_brought_to_the_scale_of_the_training(recordings, file):
    """A few of them alone have the vectors that they have among all; louder ones have others."""
    folder = recordings.parent
    whole = vectors(recordings, folder / "all.npz", file)
    few = vectors(recordings, folder / "few.npz", file.with_suffix(".pq"))
    assert torch.allclose(few, whole[5:8], atol=1e-6)
    assert not torch.allclose(vectors(recordings, folder / "louder.npz", file), whole, atol=0.1)


def test_signals_of_another_shape(recordings, file):
    """What the run takes and what there is are told side by side."""
    with pytest.raises(DataError, match=r"takes samples of 2 x 32; longer has samples of 2 x 64"):
        ssl_registry.embed(recordings, out=file, data=str(recordings.parent / "longer.npz"))


def test_csv_and_arrays_hold_what_parquet_holds(run, file, scans, monkeypatch):
    """A column for each number, read back exactly; text that is missing is empty."""
    monkeypatch.setattr(embedding, "PIECE", 80)
    for suffix in (".parquet", ".csv", ".npz"):
        result = ssl_registry.embed(run, out=file.with_suffix(suffix), data=scans)
        assert (result.file.suffix, result.rows) == (suffix, 300)
    table = pq.read_table(file)
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    frame = pd.read_csv(file.with_suffix(".csv"))
    assert list(frame.columns) == ["id", "path", "split", "label", *(f"v{n}" for n in range(result.width))]
    assert frame["label"].astype(str).tolist() == table["label"].to_pylist()
    assert frame["split"].isna().all()
    np.testing.assert_array_equal(frame.iloc[:, 4:].to_numpy(np.float32), vectors)
    with np.load(file.with_suffix(".npz"), allow_pickle=False) as found:
        assert set(found) == {"vectors", "ids", "paths", "splits", "labels"}
        np.testing.assert_array_equal(found["vectors"], vectors)
        assert found["ids"].tolist() == table["id"].to_pylist()


def test_name_of_another_format(run, tmp_path):
    """The file's name says what it is."""
    with pytest.raises(ConfigError, match=r"v\.xlsx is no name of a table; give --out .*v\.parquet, \.csv or \.npz"):
        ssl_registry.embed(run, out=tmp_path / "v.xlsx")
