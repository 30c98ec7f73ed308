"""A run on recordings of several lengths, and what comes after it: other recordings are cut as in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import ssl_registry
from ssl_registry.cli import main
from ssl_registry.errors import ConfigError, DataError
from ssl_registry.workflows import embed as embedding


def recordings(folder: Path, *, seed: int = 0) -> Path:
    """Write three recordings of each of two classes, as a device does: without a header."""
    rng = np.random.default_rng(seed)
    for i in range(6):
        path = folder / ("run", "walk")[i % 2] / f"{i}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, rng.normal(size=(40 + 7 * i, 2)), delimiter=",")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run by the command line, and its recordings."""
    root = tmp_path_factory.mktemp("recordings")
    data = recordings(root / "gait")
    words = "--data.window 16 --data.stride 8 --epochs 1 --batch-size 8 --report false --knn false"
    limits = "--trainer.accelerator cpu --trainer.limit_train_batches 1 --trainer.enable_progress_bar false"
    out = ["--out", str(root / "run")]
    assert main(["train", "simclr", "--data", str(data), *words.split(), *limits.split(), *out]) == 0
    return root / "run", data


def test_a_row_for_each_window(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """With file, first moment and class; the run's window and stride are taken without a word."""
    run, data = trained
    assert main(["embed", str(run), "--out", str(tmp_path / "e.parquet")]) == 0
    found = pq.read_table(tmp_path / "e.parquet").to_pandas()
    assert list(found.columns) == ["id", "path", "split", "label", "start", "vector"]
    assert found["id"].tolist() == list(range(len(found)))
    first = found[found["path"] == str(data / "run/0.csv")]
    assert first["start"].tolist() == [0, 8, 16, 24]
    assert set(first["label"]) == {"run"}
    assert len(found) == sum((40 + 7 * i - 16) // 8 + 1 for i in range(6))


def test_other_recordings_are_cut_alike(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Unless another stride is asked for; other lengths of windows do not fit the network."""
    run, _ = trained
    other = str(recordings(tmp_path / "other", seed=1))
    alike = ssl_registry.embed(run, data=other, out=tmp_path / "a.parquet")
    apart = ssl_registry.embed(run, data=other, out=tmp_path / "b.parquet", window_length=16, window_stride=16)
    assert (alike.rows, apart.rows) == tuple(sum((24 + 7 * i) // n + 1 for i in range(6)) for n in (8, 16))
    with pytest.raises(DataError, match=r"windows of that length are cut by --data.window 16"):
        ssl_registry.embed(run, data=other, out=tmp_path / "c.parquet", window_length=20)


def by_hand(windows: pd.DataFrame, keys: list[str]) -> list[np.ndarray]:
    """The mean of each recording's windows, in the order of the file."""
    return [np.stack(list(one)).mean(0) for _, one in windows.groupby(keys, sort=False)["vector"]]


@pytest.mark.parametrize("name", ["e.parquet", "e.csv", "e.npz"])
def test_a_row_for_each_recording(
    trained: tuple[Path, Path],
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """With the mean of its windows and their number, also where its windows lie in several pieces."""
    run, _ = trained
    ssl_registry.embed(run, out=tmp_path / "windows.parquet")
    windows = pq.read_table(tmp_path / "windows.parquet").to_pandas()
    monkeypatch.setattr(embedding, "PIECE", 5)
    assert main(["embed", str(run), "--by", "recording", "--out", str(tmp_path / name)]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith(f"{tmp_path / name}: 6 rows of ")
    assert told.endswith(f"the means of {len(windows)} windows")
    if name.endswith("npz"):
        found = np.load(tmp_path / name)
        vectors, counts, labels = found["vectors"], found["windows"], found["labels"].tolist()
    else:
        table = pd.read_csv(tmp_path / name) if name.endswith("csv") else pd.read_parquet(tmp_path / name)
        facts = ["id", "path", "split", "label", "windows"]
        assert list(table.columns[:6]) == [*facts, "v0" if name.endswith("csv") else "vector"]
        assert table["id"].tolist() == list(range(6))
        assert table["path"].tolist() == list(dict.fromkeys(windows["path"]))
        vectors = table.iloc[:, 5:].to_numpy() if name.endswith("csv") else np.stack(list(table["vector"]))
        counts, labels = table["windows"], table["label"].tolist()
    np.testing.assert_allclose(vectors, by_hand(windows, ["path"]), atol=1e-6)
    assert list(counts) == windows.groupby("path", sort=False).size().tolist()
    assert sorted(labels) == ["run"] * 3 + ["walk"] * 3


def test_recordings_of_one_file(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Of a CSV by the names in its column, of arrays by their numbers; a label that changes within one is none."""
    run, _ = trained
    rng = np.random.default_rng(2)
    moments = pd.DataFrame(rng.normal(size=(96, 2)), columns=["x", "y"])
    moments["person"] = np.repeat(["zoe", "ann", "eve"], 32)
    moments["activity"] = ["sit"] * 48 + ["walk"] * 48
    moments.to_csv(tmp_path / "wear.csv", index=False)
    np.savez(tmp_path / "wear.npz", *rng.normal(size=(3, 2, 32)).astype(np.float32), rng.normal(size=(2, 40)))
    data, out = str(tmp_path / "wear.csv"), tmp_path / "a.csv"
    result = ssl_registry.embed(
        run, data=data, out=out, by="recording", sample_column="person", label_column="activity"
    )
    found = pd.read_csv(tmp_path / "a.csv")
    assert (result.rows, result.windows, result.unreadable) == (3, 9, 0)
    assert found["recording"].tolist() == ["zoe", "ann", "eve"]
    assert found["label"].fillna("").tolist() == ["sit", "", "walk"]
    ssl_registry.embed(run, data=str(tmp_path / "wear.npz"), out=tmp_path / "b.parquet", by="recording")
    numbered = pq.read_table(tmp_path / "b.parquet")
    assert numbered["recording"].to_pylist() == ["0", "1", "2", "3"]
    assert numbered["windows"].to_pylist() == [3, 3, 3, 4]


def test_signals_that_are_not_cut_are_recordings(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Each of one window, so that one command suits both."""
    run, _ = trained
    np.savez(tmp_path / "x.npz", X=np.random.default_rng(3).normal(size=(5, 2, 16)).astype(np.float32))
    result = ssl_registry.embed(run, data=str(tmp_path / "x.npz"), out=tmp_path / "a.parquet", by="recording")
    assert result.rows == 5
    assert pq.read_table(tmp_path / "a.parquet")["windows"].to_pylist() == [1] * 5


def test_a_stopped_call_may_go_on_by_recording(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pieces are those of samples."""
    run, _ = trained
    with monkeypatch.context() as patch:
        patch.setattr(embedding, "_join", lambda *_: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception):
            ssl_registry.embed(run, out=tmp_path / "e.parquet")
    result = ssl_registry.embed(run, out=tmp_path / "e.parquet", by="recording")
    assert (result.rows, result.resumed) == (6, result.windows)


def test_what_has_no_recordings(run: Path, trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Images are told to have none, and so are tokens."""
    with pytest.raises(DataError, match="digits holds images, not recordings; leave it out"):
        ssl_registry.embed(run, out=tmp_path / "e.parquet", by="recording")
    with pytest.raises(ConfigError, match="leave one of them out"):
        ssl_registry.embed(trained[0], out=tmp_path / "e.parquet", by="recording", tokens=True)
    with pytest.raises(ConfigError, match="give 'sample' or 'recording'"):
        ssl_registry.embed(trained[0], out=tmp_path / "e.parquet", by="path")  # type: ignore[arg-type]
