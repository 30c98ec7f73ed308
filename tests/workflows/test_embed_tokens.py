"""`embed --tokens`: patch tokens with their places, as rows of Parquet or as arrays of an npz."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import ssl_registry
from ssl_registry import registry
from ssl_registry.cli import main
from ssl_registry.data import open_source
from ssl_registry.errors import BackboneError, ConfigError, SSLRegistryError
from ssl_registry.nn import evaluating, tokens
from ssl_registry.workflows import embed as embedding

QUIET = {"max_steps": 1, "accelerator": "cpu", "enable_progress_bar": False}


def trained(folder, **options):
    """A run of one step, which takes seconds."""
    given = {"options": {"projection_dim": 8}, "knn": False, "report": False, "trainer": QUIET}
    return ssl_registry.train("simclr", out=folder, **given, **options).run


@pytest.fixture(scope="module")
def vit_run(tmp_path_factory):
    kwargs = {"patch_size": 4, "depth": 1, "embed_dim": 24, "num_heads": 2}
    return trained(
        tmp_path_factory.mktemp("runs") / "vit", backbone="vit_tiny_patch16_224", backbone_kwargs=kwargs, image_size=16
    )


@pytest.fixture
def scans(tmp_path):
    """Images with labels, as a file."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "scans.npz", X=rng.integers(0, 256, (30, 1, 16, 16)).astype(np.uint8), y=np.arange(30) % 3)
    return str(tmp_path / "scans.npz")


def expected(path, x):
    """Tokens of raw samples, from the network itself."""
    model = registry.load(path)
    with torch.no_grad(), evaluating(model.product):
        return tokens(model.product, model.prepared(torch.as_tensor(x))).patches


def test_arrays(vit_run, scans, tmp_path):
    """Each sample's tokens row by row, with its number and its label, read without pickle."""
    result = ssl_registry.embed(vit_run, out=tmp_path / "t.npz", data=scans, tokens=True, batch_size=7)
    assert (result.rows, result.width, result.grid, result.unreadable) == (30, 24, (4, 4), 0)
    with np.load(tmp_path / "t.npz", allow_pickle=False) as found:
        assert set(found) == {"features", "grid", "ids", "paths", "splits", "labels"}
        features, ids, labels = (found[name] for name in ("features", "ids", "labels"))
        assert found["grid"].tolist() == [4, 4]
        assert set(found["paths"]) == {scans}
    assert features.dtype == np.float32
    assert sorted(ids.tolist()) == list(range(30))
    given = np.load(scans)
    np.testing.assert_allclose(features, expected(vit_run, given["X"][ids]), atol=1e-5)
    assert labels.tolist() == [str(y) for y in given["y"][ids]]
    assert not list(tmp_path.glob("*.pieces"))


def test_rows_are_the_arrays(vit_run, scans, tmp_path):
    """A row a patch, with its row and column; both files hold the same."""
    for name in ("t.npz", "t.parquet"):
        ssl_registry.embed(vit_run, out=tmp_path / name, data=scans, tokens=True)
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.column_names == ["id", "path", "split", "label", "row", "column", "features"]
    assert len(table) == 30 * 16
    with np.load(tmp_path / "t.npz") as arrays:
        place = {int(number): n for n, number in enumerate(arrays["ids"])}
        for row in table.to_pylist()[::37]:
            wanted = arrays["features"][place[row["id"]], row["row"] * 4 + row["column"]]
            assert row["features"] == wanted.tolist()
            assert row["label"] == arrays["labels"][place[row["id"]]]
    places = list(zip(table["row"].to_pylist()[:16], table["column"].to_pylist()[:16], strict=True))
    assert places == [(y, x) for y in range(4) for x in range(4)]


@pytest.mark.parametrize("name", ["t.npz", "t.parquet"])
def test_goes_on_where_it_stopped(vit_run, scans, tmp_path, monkeypatch, name):
    """Pieces are small enough for the memory, are kept, and the file is as of one go, to the byte."""
    out = tmp_path / name
    ssl_registry.embed(vit_run, out=out, data=scans, tokens=True)
    whole = out.read_bytes() if name.endswith("npz") else pq.read_table(out)
    out.unlink()
    monkeypatch.setattr(embedding, "PIECE_VALUES", 10 * 16 * 24 + 5)
    write, made = embedding._write, []

    def stop_at_second(path, rows, width):
        if made:
            raise KeyboardInterrupt
        made.append(write(path, rows, width))

    monkeypatch.setattr(embedding, "_write", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        ssl_registry.embed(vit_run, out=out, data=scans, tokens=True)
    assert not out.exists()
    monkeypatch.setattr(embedding, "_write", write)
    read, seen = pq.read_table, []
    monkeypatch.setattr(pq, "read_table", lambda *a, **k: seen.append(len(read(*a, **k))) or read(*a, **k))
    result = ssl_registry.embed(vit_run, out=out, data=scans, tokens=True)
    assert (result.rows, result.resumed) == (30, 10)
    assert max(seen) == 10
    monkeypatch.undo()
    assert out.read_bytes() == whole if name.endswith("npz") else pq.read_table(out).equals(whole)


def test_vectors_are_never_gone_on_with_as_tokens(vit_run, scans, tmp_path, monkeypatch):
    """Pieces of the one are not those of the other."""
    out = tmp_path / "t.parquet"
    monkeypatch.setattr(embedding, "_join", lambda *_: pytest.fail("stopped"))
    with pytest.raises(pytest.fail.Exception):
        ssl_registry.embed(vit_run, out=out, data=scans)
    assert list(tmp_path.glob("*.pieces"))
    assert ssl_registry.embed(vit_run, out=out, data=scans, tokens=True).resumed == 0


def test_feature_map_of_a_folder(run, tmp_path):
    """A convolutional network's positions; paths of the files; a broken one has no row."""
    for index, name in enumerate(["a.png", "b.png", "c.png"]):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 20), index * 60, np.uint8)).save(tmp_path / "photos" / name)
    (tmp_path / "photos/b.png").write_bytes(b"broken")
    result = ssl_registry.embed(run, out=tmp_path / "t.npz", data=str(tmp_path / "photos"), tokens=True, workers=0)
    assert (result.rows, result.unreadable) == (2, 1)
    with np.load(tmp_path / "t.npz") as found:
        assert [path.rpartition("/")[2] for path in found["paths"]] == ["a.png", "c.png"]
        assert found["ids"].tolist() == [0, 2]
        count = int(np.prod(found["grid"]))
        assert found["features"].shape == (2, count, result.width)
        shown = open_source(str(tmp_path / "photos"), image_size=16).train[0]
    np.testing.assert_allclose(
        np.load(tmp_path / "t.npz")["features"][0], expected(run, shown[None])[0], rtol=1e-4, atol=1e-5
    )


def test_steps_of_signals(tmp_path):
    """One axis: a step in the place of row and column; of windows also where they lie."""
    x = np.random.default_rng(0).normal(size=(20, 2, 32)).astype(np.float32)
    np.savez(tmp_path / "x.npz", X=x, y=np.arange(20) % 2)
    data = str(tmp_path / "x.npz")
    path = trained(tmp_path / "run", data=data, modality="signal", backbone="signal_encoder", batch_size=10)
    result = ssl_registry.embed(path, out=tmp_path / "t.parquet", tokens=True)
    table = pq.read_table(tmp_path / "t.parquet")
    (steps,) = result.grid
    assert steps > 1
    assert table.column_names == ["id", "path", "split", "label", "step", "features"]
    assert table["step"].to_pylist() == list(range(steps)) * 20


def test_what_is_refused(vit_run, scans, tmp_path):
    """A network without tokens, and another suffix."""
    with pytest.raises(ConfigError, match=r"no name of a Parquet file or an npz; give --out .*t\.parquet"):
        ssl_registry.embed(vit_run, out=tmp_path / "t.csv", data=scans, tokens=True)
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 8))
    model = registry.create("simclr", backbone=flat, input_shape=(1, 16, 16), projection_dim=8)
    from lightning.pytorch import Trainer

    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "flat.ckpt")
    with pytest.raises(BackboneError, match="Sequential has no tokens"):
        ssl_registry.embed(tmp_path / "flat.ckpt", out=tmp_path / "t.npz", data=scans, tokens=True, backbone=flat)
    assert not (tmp_path / "t.npz").exists()


def test_full_disk_leaves_no_half_file(vit_run, scans, tmp_path, small_disk):
    """One line tells it; what was there before stays."""
    out = tmp_path / "t.npz"
    out.write_text("of before")
    small_disk(30_000)
    with pytest.raises(SSLRegistryError, match="cannot be written"):
        ssl_registry.embed(vit_run, out=out, data=scans, tokens=True)
    assert out.read_text() == "of before"
    assert not list(tmp_path.rglob("*.part"))


def test_command(vit_run, scans, tmp_path, capsys):
    """Says what was written."""
    assert main(["embed", str(vit_run), "--data", scans, "--tokens", "--out", str(tmp_path / "t.npz")]) == 0
    assert (
        capsys.readouterr().out.splitlines()[-1] == f"{tmp_path / 't.npz'}: 30 samples of 4 x 4 tokens of 24 features"
    )


def test_without_pyarrow(vit_run, tmp_path, monkeypatch):
    """Pieces are Parquet, also of an npz."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SSLRegistryError, match=r"pip install 'ssl-registry\[parquet\]'"):
        ssl_registry.embed(vit_run, out=tmp_path / "t.npz", tokens=True)
