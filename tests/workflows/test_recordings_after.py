"""A run on recordings of several lengths, and what comes after it: other recordings are cut as in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import ssl_registry
from ssl_registry.cli import main
from ssl_registry.errors import DataError


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
