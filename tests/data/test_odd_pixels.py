"""Images of unusual types, ranges, axes and names."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import ssl_registry
from ssl_registry.data import open_source
from ssl_registry.errors import DataError

RNG = np.random.default_rng(0)
Make = Callable[[], NDArray[Any]]


def write(folder: Path, make: Make, suffix: str, count: int = 4) -> str:
    for i in range(count):
        (tifffile.imwrite if suffix == ".tiff" else np.save)(folder / f"{i}{suffix}", make())
    return str(folder)


@pytest.mark.parametrize("suffix", [".npy", ".tiff"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: (RNG.random((8, 8)) * 200).astype(np.float32),
            "float32 values from .* expected 0 to 65,535, or floats in",
        ),
        (lambda: np.full((8, 8), np.nan, np.float32), "float32 values from nan to nan"),
        (lambda: RNG.integers(0, 10**6, (8, 8)).astype(np.int32), "int32 values .* expected 0 to 65,535"),
        (lambda: RNG.integers(-99, 99, (8, 8)).astype(np.int16), "int16 values from -"),
        (lambda: RNG.random((8, 8)) + 1j, "complex128 is no type of images"),
    ],
)
def test_ranges_that_are_no_images(tmp_path: Path, suffix: str, make: Make, words: str) -> None:
    """Told by type and range, where every image has them."""
    with pytest.raises(DataError, match=f"none of the images in .* can be used: {words}"):
        open_source(write(tmp_path, make, suffix), image_size=8)


@pytest.mark.parametrize("suffix", [".npy", ".tiff"])
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.int16, np.uint32])
def test_bytes_in_wider_integers(tmp_path: Path, suffix: str, kind: type) -> None:
    """NumPy's own integers of 0 to 255 are 8-bit images, not nearly black ones of 16 bits."""
    array = RNG.integers(0, 256, (8, 8))
    source = open_source(write(tmp_path, lambda: array.astype(kind), suffix), image_size=8)
    assert np.array_equal(source.train[0][0].numpy(), array)


def test_a_float_tiff_among_photographs(tmp_path: Path) -> None:
    """It is scaled from [0, 1]; Pillow would cut it to 0 and 1 of 255."""
    for i in range(4):
        Image.fromarray(RNG.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    values = RNG.random((8, 8)).astype(np.float32)
    tifffile.imwrite(tmp_path / "f.tiff", values)
    source = open_source(str(tmp_path), image_size=8)
    assert np.array_equal(source.train[4][0].numpy(), (values * 255).round().astype(np.uint8))


def test_arrays_in_columns_of_hugging_face(tmp_path: Path) -> None:
    """Array3D of uint8 are images."""
    features = datasets.Features({"image": datasets.Array3D((3, 6, 6), "uint8")})
    images = RNG.integers(0, 256, (5, 3, 6, 6), dtype=np.uint8)
    datasets.Dataset.from_dict({"image": list(images)}, features=features).save_to_disk(tmp_path / "x")
    source = open_source(f"hf:{tmp_path / 'x'}")
    assert (source.modality, source.input_shape) == ("image", (3, 6, 6))
    assert np.array_equal(source.train.x.numpy(), images)


def test_axes_that_may_be_others_are_told(tmp_path: Path) -> None:
    """Forty bands or forty pictures; channels or time."""
    write(tmp_path, lambda: RNG.random((40, 32, 32)), ".npy")
    assert "images of 32 channels; the shortest axis" in open_source(str(tmp_path), image_size=8).decided
    np.savez(tmp_path / "s.npz", X=RNG.normal(size=(5, 128, 9)))
    assert "read as 128 channels of 9 moments: the last axis is time" in open_source(str(tmp_path / "s.npz")).decided
    np.savez(tmp_path / "i.npz", X=RNG.random((5, 12, 16, 20)), y=range(5))
    assert (
        "images of 12 channels, 16 high and 20 wide" in open_source(str(tmp_path / "i.npz"), modality="image").decided
    )


def png(color: int | tuple[int, ...], mode: str = "RGB") -> bytes:
    stream = BytesIO()
    Image.new(mode, (8, 8), color).save(stream, "PNG")
    return stream.getvalue()


def train(data: str, out: Path, **options: Any) -> Path:
    quick = {"limit_train_batches": 1, "accelerator": "cpu", "enable_progress_bar": False}
    short = {"epochs": 1, "batch_size": 4, "knn": False, "report": False, "workers": 0}
    return ssl_registry.train("simclr", data=data, image_size=8, out=out, trainer=quick, **{**short, **options}).run


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    """Of images, class folders and broken files: trained on, cached, embedded, evaluated and told."""
    root = os.fsencode(tmp_path / "photos")
    for name in (b"caf\xe9", b"th\xe9"):
        os.makedirs(root + b"/" + name)
        for i in range(4):
            with open(root + b"/" + name + b"/\xe9%d.png" % i, "wb") as file:
                file.write(png((i, i, i)))
    with open(root + b"/caf\xe9/broken\xe9.png", "wb") as file:
        file.write(b"no image")
    run = train(str(tmp_path / "photos"), tmp_path / "run", backbone="test_resnet", holdout=0.25, batch_size=6)
    cached = train(str(tmp_path / "photos"), tmp_path / "b", backbone="test_resnet", cache=tmp_path / "cache")
    assert cached.is_dir()
    assert ssl_registry.evaluate(run, protocols=("knn",), cache=False).rows
    ssl_registry.embed(run, out=tmp_path / "e.parquet")
    found = pq.read_table(tmp_path / "e.parquet").to_pandas()
    assert set(found["label"]) == {"caf\\xe9", "th\\xe9"}
    assert found["path"][0].endswith("caf\\xe9/\\xe90.png")
    assert len(found) == 8


def test_grey_photographs_for_a_network_of_colors(tmp_path: Path) -> None:
    """Their channel is repeated, of files and of arrays, and told; colors for a grey network are still refused."""
    for kind, mode, color in (("color", "RGB", (9, 99, 200)), ("grey", "L", 7)):
        (tmp_path / kind).mkdir()
        for i in range(4):
            (tmp_path / kind / f"{i}.png").write_bytes(png(color, mode))
    np.savez(tmp_path / "grey.npz", X=np.full((4, 8, 8), 7, np.uint8))
    run = train(str(tmp_path / "color"), tmp_path / "run", backbone="test_resnet")
    vectors = []
    for data in ("grey", "grey.npz"):
        ssl_registry.embed(run, data=str(tmp_path / data), out=tmp_path / "e.parquet")
        vectors.append(np.stack(pq.read_table(tmp_path / "e.parquet")["vector"].to_numpy()))
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=1e-5)
    other = train(str(tmp_path / "grey"), tmp_path / "other", backbone="test_resnet")
    with pytest.raises(DataError, match=r"takes samples of 1 x 8 x 8"):
        ssl_registry.embed(other, data=str(tmp_path / "color"), out=tmp_path / "f.parquet")


@pytest.mark.parametrize(("shape", "told"), [((6, 16, 16), True), ((6, 9, 9), False), ((6, 16, 40), False)])
def test_square_arrays_of_floats_may_be_images(shape: tuple[int, ...], told: bool, tmp_path: Path) -> None:
    """They are signals, as arrays of floats are; the line says so, and how to have images."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random(shape))
    source = open_source(str(tmp_path / "x.npy"))
    assert source.input_shape == shape[1:]
    assert ("grey images of floats are --modality image" in source.decided) == told
    assert open_source(str(tmp_path / "x.npy"), modality="image").input_shape == (1, *shape[1:])
