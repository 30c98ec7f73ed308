"""Array files on the disk, right and wrong."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_registry.data import Source, open_source
from ssl_registry.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
SIGNALS = RNG.normal(3.0, 2.0, (40, 3, 8)).astype(np.float32)
LABELS = np.arange(40) % 4
IMAGES = RNG.integers(0, 255, (40, 3, 8, 8), dtype=np.uint8)


def save(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "some.npz", **arrays)
    return str(folder / "some.npz")


@pytest.mark.parametrize("x", ["X", "x", "data", "images", "features", "X_train", "x_train"])
@pytest.mark.parametrize("y", ["y", "label", "labels", "target", "targets", "y_train"])
def test_keys(x: str, y: str, tmp_path: Path) -> None:
    """Each of the usual names is found."""
    source = open_source(save(tmp_path, **{x: SIGNALS, y: LABELS}))
    assert source.labeled
    assert source.modality == "signal"
    assert len(source.train) + len(source.test) == 40


def test_holdout_keeps_pairs(tmp_path: Path) -> None:
    """A fifth of each class is held out, and every sample keeps its label."""
    x = np.repeat(np.arange(40.0)[:, None], 2, 1)
    source = open_source(save(tmp_path, X=x, y=LABELS))
    assert (len(source.train), len(source.test)) == (32, 8)
    for part in (source.train, source.test):
        original = part.x[:, 0].double() * source.std[0] + source.mean[0]
        assert torch.equal(original.round().long() % 4, part.y)
    assert "train: 1 file, 32 samples; test: 8 samples, held out" in source.decided


def test_holdout_of_nothing(tmp_path: Path) -> None:
    """A share of 0 gives no test part; so do data without labels."""
    assert open_source(save(tmp_path, X=SIGNALS, y=LABELS), holdout=0).test is None
    source = open_source(save(tmp_path, X=SIGNALS))
    assert source.test is None
    assert not source.labeled
    assert isinstance(source.train[0], torch.Tensor)


@pytest.mark.parametrize("suffix", ["X_test", "x_test"])
def test_test_part_of_its_own(suffix: str, tmp_path: Path) -> None:
    """A test part in the file is used, standardised with the statistics of the train part."""
    other = SIGNALS[:7] * 5 + 1
    source = open_source(save(tmp_path, X_train=SIGNALS, y_train=LABELS, **{suffix: other}, y_test=LABELS[:7]))
    assert (len(source.train), len(source.test)) == (40, 7)
    mean, std = SIGNALS.mean((0, 2), np.float64), SIGNALS.std((0, 2), np.float64)
    np.testing.assert_allclose(source.mean, mean, rtol=1e-6)
    expected = (other.astype(np.float64) - mean[:, None]) / std[:, None]
    np.testing.assert_allclose(source.test.x.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_is_test_splits(tmp_path: Path) -> None:
    """Booleans mark the test part; statistics are those of the rest."""
    mask = np.arange(40) >= 30
    names = np.array(["walk", "sit", "stand", "lie"])
    source = open_source(save(tmp_path, X=SIGNALS, y=LABELS, is_test=mask, classes=names))
    assert (len(source.train), len(source.test)) == (30, 10)
    assert source.classes == ("walk", "sit", "stand", "lie")
    assert source.test.y.tolist() == LABELS[30:].tolist()
    np.testing.assert_allclose(source.mean, SIGNALS[:30].mean((0, 2), np.float64), rtol=1e-5)
    np.testing.assert_allclose(source.train.x.mean((0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(source.train.x.std((0, 2), correction=0), 1, atol=1e-5)


def test_images_stay_uint8(tmp_path: Path) -> None:
    """Images are not standardised; their mean and std are told for [0, 1]."""
    source = open_source(save(tmp_path, images=IMAGES))
    assert source.modality == "image"
    assert torch.equal(source.train.x, torch.from_numpy(IMAGES))
    np.testing.assert_allclose(source.mean, (IMAGES / 255).mean((0, 2, 3)))
    np.testing.assert_allclose(source.std, (IMAGES / 255).std((0, 2, 3)))


def test_images_are_resized(tmp_path: Path) -> None:
    """image_size takes the centred square and resizes it, of all parts."""
    tall = RNG.integers(0, 255, (6, 12, 8, 3), dtype=np.uint8)
    source = open_source(save(tmp_path, X=tall, X_test=tall[:2]), image_size=4)
    assert source.input_shape == (3, 4, 4)
    assert source.test.x.shape == (2, 3, 4, 4)
    square = torch.from_numpy(tall[:, 2:10]).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(square, (4, 4), mode="bilinear", antialias=True).round()
    assert torch.equal(source.train.x.float(), expected)


def test_image_size_of_a_signal_is_noted(tmp_path: Path) -> None:
    """A size means nothing for a signal, and that is said."""
    source = open_source(save(tmp_path, X=SIGNALS), image_size=32)
    assert source.input_shape == (3, 8)
    assert source.notes == ("image_size=32 has no meaning for a signal",)


def test_kind_overrides(tmp_path: Path) -> None:
    """Float arrays of three axes can be grey images when the user says so."""
    source = open_source(save(tmp_path, X=np.full((4, 6, 6), 0.5)), modality="image")
    assert (source.modality, source.input_shape) == ("image", (1, 6, 6))


def test_npy_holds_samples(tmp_path: Path) -> None:
    """A single array has no labels."""
    np.save(tmp_path / "table.npy", SIGNALS[:, 0])
    source = open_source(str(tmp_path / "table.npy"))
    assert (source.name, source.modality, source.input_shape) == ("table", "table", (8,))
    assert not source.labeled


@pytest.mark.parametrize(
    "content",
    [
        {"X": torch.from_numpy(SIGNALS), "y": torch.from_numpy(LABELS)},
        (torch.from_numpy(SIGNALS), torch.from_numpy(LABELS)),
        {"data": torch.from_numpy(SIGNALS).bfloat16(), "targets": LABELS.tolist()},
    ],
)
def test_pt_files(content: Any, tmp_path: Path) -> None:
    """A dict, a pair, and types that NumPy lacks."""
    torch.save(content, tmp_path / "some.pt")
    source = open_source(str(tmp_path / "some.pt"))
    assert (source.modality, source.input_shape, source.classes) == ("signal", (3, 8), ("0", "1", "2", "3"))


def test_pt_tensor(tmp_path: Path) -> None:
    """A lone tensor holds samples."""
    torch.save(torch.from_numpy(IMAGES), tmp_path / "some.pt")
    assert open_source(str(tmp_path / "some.pt")).modality == "image"


class Evil:
    """Would run code when unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("owned",))


@pytest.mark.parametrize("suffix", ["npz", "npy", "pt"])
def test_pickled_objects_are_refused(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file runs code, and the error names it."""
    path = tmp_path / f"evil.{suffix}"
    if suffix == "pt":
        torch.save({"X": Evil()}, path)
    elif suffix == "npz":
        np.savez(path, X=np.array([Evil()], object))
    else:
        np.save(path, np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(DataError, match=f"evil.{suffix}{': X' if suffix == 'npz' else ''} cannot be read"):
        open_source(str(path))
    assert "owned" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["npz", "npy", "pt"])
@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04 but no zip"])
def test_broken_files_are_named(suffix: str, content: bytes, tmp_path: Path) -> None:
    """Whatever is in the file, the error says which file it is and what was expected."""
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"broken.{suffix} cannot be read as arrays.*expected"):
        open_source(str(path))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["npz", "npy", "pt"]), st.floats(0, 1), st.binary(max_size=9))
def test_torn_files_are_told(suffix: str, where: float, scrap: bytes) -> None:
    """A file cut off or overwritten anywhere is read right or is an error of the data, nothing else."""
    stream = BytesIO()
    if suffix == "pt":
        torch.save({"X": torch.from_numpy(IMAGES[:2])}, stream)
    elif suffix == "npz":
        np.savez_compressed(stream, X=IMAGES[:2])
    else:
        np.save(stream, IMAGES[:2])
    whole = stream.getvalue()
    cut = int(where * len(whole))
    for content in (whole[:cut] + scrap, whole[:cut] + scrap + whole[cut + len(scrap) :]):
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"torn.{suffix}"
            path.write_bytes(content)
            try:
                told = f"{path.name} with {open_source(str(path)).train.x.numel()} numbers"
            except DataError as error:
                told = str(error)
            assert path.name in told


def test_other_keys_are_left_alone(tmp_path: Path) -> None:
    """What is not looked for may be anything: it is not even read."""
    path = save(tmp_path, X=SIGNALS, comments=np.array([Evil()], object))
    assert open_source(path).input_shape == (3, 8)
    torch.save({"X": torch.from_numpy(SIGNALS), "meta": {"rate": 50}}, tmp_path / "some.pt")
    assert open_source(str(tmp_path / "some.pt")).input_shape == (3, 8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"Z": SIGNALS}, "has no samples; expected one of the keys X, .*, it has: Z"),
        ({"X": SIGNALS, "features": SIGNALS}, "has X and features; expected one"),
        ({"X": SIGNALS, "y": LABELS, "labels": LABELS}, "has y and labels; expected one"),
        ({"X": SIGNALS, "y": LABELS[:-1]}, r"y has shape \(39,\), but .*X holds 40 samples"),
        ({"X": SIGNALS, "X_test": SIGNALS, "y": LABELS}, r"X has labels \(.*y\) and .*X_test has none"),
        ({"X": SIGNALS, "X_test": SIGNALS, "y_test": LABELS}, "X_test has labels .* and .*X has none"),
        ({"X": SIGNALS, "y": LABELS, "y_test": LABELS}, "has y_test but no samples for it"),
        ({"X": SIGNALS, "X_test": SIGNALS[:, :2]}, r"X_test has samples of shape \(2, 8\), .*X of \(3, 8\)"),
        ({"X": SIGNALS, "X_test": SIGNALS, "is_test": LABELS > 2}, "both X_test and is_test"),
        ({"X": SIGNALS, "is_test": np.ones(39, bool)}, r"is_test has shape \(39,\).*expected 40 booleans"),
        ({"X": SIGNALS, "is_test": LABELS}, "is_test has shape .* int64; expected 40 booleans"),
        ({"X": SIGNALS, "y": LABELS[:-1], "is_test": LABELS > 2}, r"y has shape \(39,\)"),
        ({"X": SIGNALS, "y": LABELS, "classes": np.array(["a", "b"])}, "with 2 class names"),
        ({"X": SIGNALS * np.nan}, "X holds 960 NaN or infinite values"),
        ({"X": np.array(3.0)}, "X is a single value"),
    ],
)
def test_wrong_contents_are_told(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Each error names the file, the key and what was expected."""
    with pytest.raises(DataError, match=f"some.npz.*{message}"):
        open_source(save(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("t.xlsx", r"read_excel\('.*t.xlsx'\).to_csv\('.*t.csv', index=False\)"),
        ("t.jsonl", r"read_json\('.*t.jsonl', lines=True\).to_csv"),
        ("t.h5", "an array of it: numpy.save"),
        ("t.zip", "unknown kind: unpack it first"),
        ("a/t.JPG", "give their folder: --data .*/a. Data can be"),
        ("a/*.png", "give their folder: --data .*/a. Data can be"),
        ("a/*/x.png", "give their folder: --data .*/a. Data can be"),
    ],
)
def test_files_of_others_come_with_what_to_do(tmp_path: Path, name: str, words: str) -> None:
    """The message begins with the line that makes something usable of such a file."""
    (tmp_path / "a").mkdir()
    if "*" not in name:
        (tmp_path / name).write_bytes(b"?")
    with pytest.raises(DataError, match=words):
        open_source(str(tmp_path / name))


def test_other_kinds_of_files_are_told(tmp_path: Path) -> None:
    """A file that is no array file is answered with what is understood."""
    (tmp_path / "table.xlsx").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"table.xlsx is a file of an unknown kind.*x\.npz, x\.npy, x\.pt"):
        open_source(str(tmp_path / "table.xlsx"))


def test_unknown_pt_contents(tmp_path: Path) -> None:
    """A number is no data set, rows of unequal length are no array."""
    torch.save({"X": [[1.0], [1.0, 2.0]]}, tmp_path / "some.pt")
    with pytest.raises(DataError, match=r"some\.pt: X is no array"):
        open_source(str(tmp_path / "some.pt"))
    torch.save(3, tmp_path / "some.pt")
    with pytest.raises(DataError, match="holds a int; expected a tensor"):
        open_source(str(tmp_path / "some.pt"))


def test_arguments_are_checked(tmp_path: Path) -> None:
    """Values out of range are told before anything is read."""
    path = save(tmp_path, X=SIGNALS)
    for wrong in (
        {"modality": "picture"},
        {"image_size": 0},
        {"image_size": True},
        {"holdout": 1.0},
        {"holdout": -0.1},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            open_source(path, **wrong)


def test_source_is_frozen(tmp_path: Path) -> None:
    """A source does not change after it was opened."""
    source: Source = open_source(save(tmp_path, X=SIGNALS))
    with pytest.raises(AttributeError):
        source.name = "other"


def test_signals_as_they_are(tmp_path: Path) -> None:
    """Without standardising nothing is changed, and mean and std say so."""
    x = np.random.default_rng(0).standard_normal((10, 2, 16)).astype(np.float32) * 5 + 3
    np.savez(tmp_path / "x.npz", X=x)
    source = open_source(str(tmp_path / "x.npz"), standardize=False)
    np.testing.assert_array_equal(source.train.x.numpy(), x)
    assert (source.mean, source.std) == ((0.0, 0.0), (1.0, 1.0))


def test_the_scale_of_other_data(tmp_path: Path) -> None:
    """What was measured elsewhere is subtracted and divided by; it takes a number a channel."""
    np.savez(tmp_path / "x.npz", X=np.full((4, 2, 8), 7.0, np.float32))
    source = open_source(str(tmp_path / "x.npz"), standardize=((3.0, 5.0), (2.0, 4.0)))
    assert source.train.x[0, :, 0].tolist() == [2.0, 0.5]
    with pytest.raises(DataError, match="2 channels or features; expected 1, as in training"):
        open_source(str(tmp_path / "x.npz"), standardize=((3.0,), (2.0,)))


@pytest.mark.parametrize("x", ["X_val", "x_valid", "X_VALIDATION", "val_x"])
def test_a_validation_part_is_held_out(x: str, tmp_path: Path) -> None:
    """Where there is no test part; beside one it is left out and told."""
    y = x.replace("X", "y").replace("x", "y")
    held = {x: SIGNALS[:5], y: LABELS[:5]}
    source = open_source(save(tmp_path, X_train=SIGNALS, y_train=LABELS, **held))
    assert (len(source.train), len(source.test)) == (40, 5)
    both = {**held, "X_test": SIGNALS[:3], "y_test": LABELS[:3]}
    source = open_source(save(tmp_path, X_train=SIGNALS, y_train=LABELS, **both))
    assert len(source.test) == 3
    assert f"'{x}' (a second held-out part)" in source.decided


@pytest.mark.parametrize("marks", [np.zeros(40, bool), np.ones(40, int)])
def test_marks_that_are_all_alike(marks: Any, tmp_path: Path) -> None:
    """They tell one part, as of new samples to embed."""
    source = open_source(save(tmp_path, X=SIGNALS, is_test=marks))
    assert (len(source.train), source.test) == (40, None)
    assert "is_test is the same for all samples" in source.decided


def test_classes_as_bytes(tmp_path: Path) -> None:
    """They are text."""
    source = open_source(save(tmp_path, X=SIGNALS, y=LABELS % 2, classes=np.array([b"cat", "hündin".encode()])))
    assert source.classes == ("cat", "hündin")


def test_rows_of_the_file(tmp_path: Path) -> None:
    """Samples of either part know their own."""
    source = open_source(save(tmp_path, X=SIGNALS, is_test=LABELS == 1))
    assert [source.test.row(index) for index in range(3)] == [1, 5, 9]
    assert source.train.name(0) == str(tmp_path / "some.npz")


def test_the_user_says_label_and_test_part(tmp_path: Path) -> None:
    """A key of any name; another file."""
    np.savez(tmp_path / "other.npz", X=SIGNALS[:4], age=LABELS[:4])
    path = save(tmp_path, X=SIGNALS, y=LABELS, age=LABELS[::-1] % 2)
    source = open_source(path, label_column="age", test_data=str(tmp_path / "other.npz"), holdout=0.5)
    assert (len(source.train), len(source.test), source.train.y[0]) == (40, 4, 1)
    with pytest.raises(DataError, match=r"no key 'ago', which --data.label names. Did you mean 'age'"):
        open_source(path, label_column="ago")
    with pytest.raises(ConfigError, match=r"--data\.drop names columns of a table"):
        open_source(path, drop_columns="age")


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is told by Linux alone")
@pytest.mark.parametrize("images", [IMAGES, IMAGES.astype(np.float32) / 255])
def test_npy_is_mapped(images: np.ndarray, tmp_path: Path) -> None:
    """Images in the project's layout stay in their file, and are what was saved."""
    path = tmp_path / "mapped.npy"
    np.save(path, images)
    source = open_source(str(path))
    assert str(path) in Path("/proc/self/maps").read_text(encoding="utf-8")
    x = source.train.x  # type: ignore[attr-defined]
    assert torch.equal(x, torch.from_numpy(images))
    x[0] = 0
    assert np.array_equal(np.load(path), images)


@pytest.mark.parametrize(
    ("x", "y", "x_test", "y_test"),
    [
        ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
        ("data_train", "target_train", "data_val", "target_val"),
        ("train", "y", "test", "test_y"),
        ("samples", "labels", "X_test", "Y_TEST"),
    ],
)
def test_keys_of_parts(tmp_path: Path, x: str, y: str, x_test: str, y_test: str) -> None:
    """Any word for samples or labels may stand before or behind the name of a part."""
    samples, labels = np.random.default_rng(0).random((12, 3)), np.arange(12) % 3
    np.savez(tmp_path / "a.npz", **{x: samples, y: labels[:, None], x_test: samples[:6], y_test: labels[:6]})
    source = open_source(str(tmp_path / "a.npz"))
    assert source.test is not None
    assert (len(source.train), len(source.test), source.classes) == (12, 6, ("0", "1", "2"))


def test_two_arrays_without_names(tmp_path: Path) -> None:
    """What ``numpy.savez(path, X, y)`` writes is samples and labels; two signals stay two signals."""
    np.savez(tmp_path / "a.npz", np.zeros((12, 3)), np.arange(12) % 3)
    assert open_source(str(tmp_path / "a.npz")).classes == ("0", "1", "2")
    np.savez(tmp_path / "b.npz", np.zeros((2, 30)), np.zeros((2, 40)))
    assert "of 2 recordings" in open_source(str(tmp_path / "b.npz"), window_length=16).decided
