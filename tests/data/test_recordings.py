"""Recordings of any length: a file each, a column that tells them apart, or arrays; and windows cut from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.io import wavfile

from ssl_registry.data import open_source
from ssl_registry.data.arrays.recordings import channels_first
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.source import Source
from ssl_registry.errors import ConfigError, DataError

LENGTHS = (30, 47, 25, 64, 33, 52)
SIGNALS = [np.arange(2.0 * length, dtype=np.float32).reshape(length, 2) + 1000 * i for i, length in enumerate(LENGTHS)]


def write(path: Path, x: NDArray[Any]) -> None:
    """Write [time, channels], as the suffix tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({"time": np.arange(len(x)), "x": x[:, 0], "y": x[:, 1]})
    writers: dict[str, Callable[[], Any]] = {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        ".parquet": lambda: frame.to_parquet(path),
        ".npy": lambda: np.save(path, x.T),
        ".wav": lambda: wavfile.write(path, 8000, x.astype(np.int16)),
    }
    writers[path.suffix]()


def folder(root: Path, suffix: str = ".csv") -> str:
    """Write three recordings of each of two classes."""
    for i, x in enumerate(SIGNALS):
        write(root / ("run", "walk")[i % 2] / f"{i}{suffix}", x)
    return str(root)


def raw(source: Source, part: str = "train") -> NDArray[Any]:
    """Return the samples of a part as they were before they were standardized."""
    x = getattr(source, part).x.double() * torch.tensor(source.std)[:, None] + torch.tensor(source.mean)[:, None]
    return x.numpy()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npy", ".wav"])
def test_a_folder_with_a_file_a_recording(tmp_path: Path, suffix: str) -> None:
    """Classes are folders; windows are what numpy cuts, in order; nothing else becomes a channel."""
    source = open_source(folder(tmp_path, suffix), window_length=20, window_stride=10, holdout=0)
    assert (source.modality, source.input_shape, source.classes) == ("signal", (2, 20), ("run", "walk"))
    order = [i for first in (0, 1) for i in range(first, 6, 2)]  # by class
    scale = 2.0**15 if suffix == ".wav" else 1.0
    expected = [SIGNALS[i][at : at + 20].T / scale for i in order for at in range(0, LENGTHS[i] - 19, 10)]
    np.testing.assert_allclose(raw(source), expected, rtol=1e-5, atol=1e-3 / scale)
    assert source.train.y.tolist() == [i % 2 for i in order for _ in range(0, LENGTHS[i] - 19, 10)]
    assert [source.train.window(n) for n in range(3)] == [{"start": 0}, {"start": 10}, {"start": 0}]
    assert source.train.name(2).endswith(f"2{suffix}")
    assert "windows of 20 moments, one every 10, of 6 recordings" in source.decided
    assert source.rate == (8000 if suffix == ".wav" else None)


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".wav"])
def test_recordings_of_several_lengths_need_a_window(tmp_path: Path, suffix: str) -> None:
    """The error names the shortest and the longest, and the option with a number that works."""
    with pytest.raises(DataError, match=r"from 25 moments \(.*2\..*\) to 64 \(.*3\..*\).* such as --data.window 16 "):
        open_source(folder(tmp_path, suffix))
    assert open_source(str(tmp_path), window_length=16).input_shape == (2, 16)


def test_recordings_of_one_length_need_none(tmp_path: Path) -> None:
    """Each file is a sample."""
    for i in range(3):
        write(tmp_path / f"{i}.csv", SIGNALS[i][:20])
    source = open_source(str(tmp_path))
    assert (source.input_shape, len(source.train), source.train.window(0)) == ((2, 20), 3, {})


def test_windows_of_one_recording_stay_in_one_part(tmp_path: Path) -> None:
    """Of each class whole recordings are held out, whatever the seed."""
    root = folder(tmp_path)
    for seed in range(5):
        source = open_source(root, window_length=10, window_stride=3, holdout=0.3, seed=seed)
        files = [{part.name(i) for i in range(len(part))} for part in (source.train, source.test)]
        assert not files[0] & files[1]
        assert sorted({Path(name).parent.name for name in files[1]}) == ["run", "walk"]
        rows = sorted(part.row(i) for part in (source.train, source.test) for i in range(len(part)))
        assert rows == list(range(len(rows)))  # `embed` numbers windows over both parts
    assert "whole recordings held out of the train part with seed 4" in source.decided


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
def test_folders_of_parts(tmp_path: Path, suffix: str) -> None:
    """As for images; another folder can be the test part."""
    folder(tmp_path / "set/train", suffix)
    for i in (0, 1):
        write(tmp_path / "set/test" / ("run", "walk")[i % 2] / f"{i}{suffix}", SIGNALS[i] + 7)
    source = open_source(str(tmp_path / "set"), window_length=20)
    assert (len(source.train), len(source.test), source.test.y.tolist()) == (10, 3, [0, 1, 1])
    other = open_source(str(tmp_path / "set/train"), window_length=20, test_data=str(tmp_path / "set/test"))
    assert other.test.x.equal(source.test.x)
    with pytest.raises(DataError, match=f"holds no {suffix} files"):
        open_source(str(tmp_path / "set/train"), window_length=20, test_data=str(tmp_path / "nowhere"))


def test_short_recordings_are_filled_up(tmp_path: Path) -> None:
    """With the mean of each channel, at the end; and told."""
    source = open_source(folder(tmp_path), window_length=50, holdout=0)
    short = SIGNALS[0]
    assert raw(source)[0][:, :30] == pytest.approx(short.T, abs=0.01)
    assert raw(source)[0][:, 30:] == pytest.approx(np.repeat(short.mean(0)[:, None], 20, 1), abs=0.01)
    assert "4 shorter recordings filled up at the end with the channels' means" in source.decided
    assert "16 moments at the ends in no window" in source.decided


def moments(folder: Path, *, labels: list[list[str]] | None = None) -> str:
    """Write one table of all signals, a row a moment."""
    frames = [pd.DataFrame({"sample": f"r{i}", "time": range(len(x)), "x": x[:, 0]}) for i, x in enumerate(SIGNALS)]
    table = pd.concat(frames)
    if labels is not None:
        table["label"] = [label for signal in labels for label in signal]
    table.to_csv(folder / "x.csv", index=False)
    return str(folder / "x.csv")


def test_rows_of_samples_of_several_lengths(tmp_path: Path) -> None:
    """A column `sample` tells recordings apart, in one file; windows have its name."""
    path = moments(tmp_path)
    with pytest.raises(DataError, match=r"from 25 moments \(r2\) to 64 \(r3\).*--data.window 16"):
        open_source(path)
    source = open_source(path, window_length=20)
    assert source.train.window(1) == {"recording": "r1", "start": 0}
    assert source.train.window(2) == {"recording": "r1", "start": 20}
    assert raw(source)[2][0] == pytest.approx(SIGNALS[1][20:40, 0], abs=0.01)


def test_labels_that_change_within_a_recording(tmp_path: Path) -> None:
    """A window in which they change has none; a whole recording must have one."""
    labels = [["a"] * length for length in LENGTHS[:5]] + [["b"] * 26 + ["c"] * 26]
    path = moments(tmp_path, labels=labels)
    with pytest.raises(DataError, match="from 25 moments"):
        open_source(path)
    source = open_source(path, window_length=13, holdout=0)
    assert source.train.y[-4:].tolist() == [1, 1, 2, 2]
    shifted = open_source(path, window_length=20, holdout=0)
    assert shifted.train.y[-2:].tolist() == [1, -1]
    assert "1 windows in which 'label' changes have no label" in shifted.decided
    assert "1 of them without a label" in shifted.decided


def test_a_file_without_the_column_is_one_recording(tmp_path: Path) -> None:
    """Where windows are asked for; several files are several."""
    for i in (0, 1):
        write(tmp_path / f"{i}.csv", SIGNALS[i])
    one = open_source(str(tmp_path / "0.csv"), window_length=10)
    assert (one.input_shape, len(one.train)) == ((2, 10), 3)
    several = open_source(str(tmp_path / "*.csv"), window_length=10, window_stride=10)
    assert (len(several.train), several.train.window(3)) == (7, {"start": 0})


@pytest.mark.parametrize("header", ["", "0,1\n", ",x,y\n"])
def test_csv_of_devices(tmp_path: Path, header: str) -> None:
    """Without a header, with pandas' numbers for one, with an index: the channels are the same."""
    for i in (0, 1):
        rows = [f"{n}," if header.startswith(",") else "" for n in range(LENGTHS[i])]
        cells = "".join(f"{rows[n]}{a:g},{b:g}\n" for n, (a, b) in enumerate(SIGNALS[i] + 5))
        (tmp_path / f"{i}.csv").write_text(header + cells)
    source = open_source(str(tmp_path), window_length=25)
    assert (source.input_shape, len(source.train)) == ((2, 25), 2)
    assert raw(source)[0] == pytest.approx(SIGNALS[0][:25].T + 5, abs=0.01)
    assert ("0.csv: the first row, 0 to 1, is read as a header" in source.decided) == header.startswith("0")


def ragged(path: Path, form: str) -> str:
    """Write all signals as one file of arrays, with labels."""
    y = [i % 2 for i in range(len(SIGNALS))]
    first = [x.T for x in SIGNALS]  # [channels, time]
    filled = np.stack([np.pad(x, ((0, 0), (0, 64 - x.shape[1])), constant_values=np.nan) for x in first])
    writers: dict[str, Callable[[], Any]] = {
        "savez.npz": lambda: np.savez(path / form, *first, y=y),
        "nan.npz": lambda: np.savez(path / form, X=filled, y=y),
        "lengths.npz": lambda: np.savez(path / form, X=np.nan_to_num(filled), y=y, lengths=LENGTHS),
        "list.pt": lambda: torch.save({"X": [torch.tensor(x) for x in first], "y": torch.tensor(y)}, path / form),
        "lists.parquet": lambda: pyarrow.parquet.write_table(
            pa.table({"x": [x.tolist() for x in first], "y": y}), path / form
        ),
        "moments.parquet": lambda: pyarrow.parquet.write_table(
            pa.table({"x": [x.tolist() for x in SIGNALS], "y": y}), path / form
        ),
    }
    writers[form]()
    return str(path / form)


@pytest.mark.parametrize("form", ["savez.npz", "nan.npz", "lengths.npz", "list.pt", "lists.parquet", "moments.parquet"])
def test_arrays_of_several_lengths(tmp_path: Path, form: str) -> None:
    """However they are written, the windows are the same; they need a length."""
    path = ragged(tmp_path, form)
    with pytest.raises(DataError, match=r"from 25 moments \(.*sample 2\) to 64 \(.*sample 3\)"):
        open_source(path)
    source = open_source(path, window_length=20, window_stride=15, holdout=0)
    expected = [x[at : at + 20].T for x in SIGNALS for at in range(0, len(x) - 19, 15)]
    np.testing.assert_allclose(raw(source), expected, atol=0.01)
    held = open_source(path, window_length=20, window_stride=15, holdout=0.3)
    assert held.test is not None
    assert len(held.train) + len(held.test) == len(source.train)


def test_arrays_of_one_length_can_be_cut(tmp_path: Path) -> None:
    """A signal each; tables and images are refused."""
    np.savez(tmp_path / "s.npz", X=np.arange(240.0).reshape(4, 2, 30), y=[0, 1, 0, 1])
    source = open_source(str(tmp_path / "s.npz"), window_length=12, holdout=0.5)
    assert (source.input_shape, len(source.train), len(source.test)) == ((2, 12), 4, 4)
    np.savez(tmp_path / "t.npz", X=np.zeros((4, 30)))
    with pytest.raises(ConfigError, match=r"--data.window cuts signals, and .* is read as a table"):
        open_source(str(tmp_path / "t.npz"), window_length=12)
    assert open_source(str(tmp_path / "t.npz"), window_length=12, modality="signal").input_shape == (1, 12)
    with pytest.raises(ConfigError, match=r"--data.window cuts signals; digits has none"):
        open_source("digits", window_length=12)
    with pytest.raises(ConfigError, match=r"--data.stride goes with --data.window"):
        open_source(str(tmp_path / "s.npz"), window_stride=3)


def test_what_does_not_fit_is_told_by_file(tmp_path: Path) -> None:
    """Other channels, other sampling rates, broken and pickled files."""
    folder(tmp_path / "a", ".npy")
    np.save(tmp_path / "a/run/9.npy", np.zeros((3, 90), np.float32))
    with pytest.raises(DataError, match=r"9\.npy has shape \(3, 90\), .*0\.npy has \(2, 30\)"):
        open_source(str(tmp_path / "a"), window_length=8)
    folder(tmp_path / "b", ".wav")
    wavfile.write(tmp_path / "b/run/9.wav", 16000, np.zeros((90, 2), np.int16))
    with pytest.raises(DataError, match=r"6 of 8,000 Hz .*, 1 of 16,000 Hz \(.*9\.wav\); resample"):
        open_source(str(tmp_path / "b"), window_length=8)
    (tmp_path / "b/run/9.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"9\.wav cannot be read as WAV"):
        open_source(str(tmp_path / "b"), window_length=8)
    folder(tmp_path / "c", ".csv")
    (tmp_path / "c/run/9.csv").write_text("time,x\n0,1\n1,2\n")
    with pytest.raises(DataError, match=r"9\.csv has no column 'y'"):
        open_source(str(tmp_path / "c"), window_length=8)


def test_folders_that_hold_no_recordings(tmp_path: Path) -> None:
    """Images decide for images, a table a part for tables; what else lies beside recordings is told."""
    folder(tmp_path / "a", ".wav")
    (tmp_path / "a/info.csv").write_text("a\n1\n")
    assert "'1 .csv' (beside 6 .wav)" in open_source(str(tmp_path / "a"), window_length=8).decided
    Image.new("RGB", (8, 8)).save(tmp_path / "a/cover.png")
    assert open_source(str(tmp_path / "a"), image_size=8).modality == "image"
    assert open_source(str(tmp_path / "a"), modality="signal", window_length=8).modality == "signal"
    (tmp_path / "t").mkdir()
    for name in ("train", "test"):
        (tmp_path / f"t/{name}.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"rows are samples give '.*\*\.csv', for recordings, .* --modality signal"):
        open_source(str(tmp_path / "t"))
    (tmp_path / "f").mkdir()
    (tmp_path / "f/a.flac").write_bytes(b"x")
    with pytest.raises(DataError, match=r"sound is read from .wav: convert .flac"):
        open_source(str(tmp_path / "f"))


def test_pictures_in_arrays_stay_pictures(tmp_path: Path) -> None:
    """Arrays of two axes of like lengths are images, as before."""
    for i in range(2):
        np.save(tmp_path / f"{i}.npy", np.full((16, 20), i / 2, np.float32))
    assert open_source(str(tmp_path), image_size=8).modality == "image"


@pytest.mark.parametrize(
    ("shapes", "expected", "told"),
    [
        ([(2, 9), (2, 5)], [(2, 9), (2, 5)], []),
        ([(9, 2), (5, 2)], [(2, 9), (2, 5)], ["read as [time, channels]"]),
        ([(9, 2), (9, 2)], [(2, 9), (2, 9)], ["read as [time, channels]"]),
        ([(3, 2), (9, 2)], [(2, 3), (2, 9)], ["read as [time, channels]"]),
        ([(4, 4)], [(4, 4)], []),
        ([(7,), (3,)], [(1, 7), (1, 3)], []),
    ],
)
def test_which_axis_is_time(shapes: list[tuple[int, ...]], expected: list[tuple[int, ...]], told: list[str]) -> None:
    """The one that differs between recordings, else the longer one."""
    decisions = Decisions()
    found = channels_first([np.zeros(shape) for shape in shapes], list("ab")[: len(shapes)], decisions)
    assert ([x.shape for x in found], decisions.more) == (expected, told)


@pytest.mark.parametrize(
    ("lengths", "window", "shorter"),
    [
        ((30, 400, 639), 64, "1 shorter recording is filled up at its end"),
        ((20, 30, 36, 40), 16, ""),
        ((5, 6, 9), 4, ""),
    ],
)
def test_a_window_that_suits_the_recordings(
    tmp_path: Path, lengths: tuple[int, ...], window: int, shorter: str
) -> None:
    """About a quarter of the usual length, and no longer than it; the error tells what becomes of shorter ones."""
    for i, length in enumerate(lengths):
        np.save(tmp_path / f"{i}.npy", np.random.default_rng(i).normal(size=(2, length)))
    with pytest.raises(DataError) as raised:
        open_source(str(tmp_path), modality="signal")
    told = str(raised.value)
    assert (
        f"--data.window {window} (with --data.stride {window // 2} they overlap by half{'; ' if shorter else ''}"
        in told
    )
    assert shorter in told
