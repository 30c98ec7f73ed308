"""Images of every depth and number of bands become what their set has in common."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from ssl_registry.data import open_source
from ssl_registry.data.images.decode import decode
from ssl_registry.data.images.encoded_photo import EncodedPhoto
from ssl_registry.data.images.pixels import Pixels, fit, pixels_of
from ssl_registry.data.options import DataOptions
from ssl_registry.errors import ConfigError, DataError, MissingExtraError

RANDOM = np.random.default_rng(0)
BANDS16 = RANDOM.integers(0, 65535, (6, 8, 8), dtype=np.uint16)


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def pillow(mode: str, suffix: str) -> bytes:
    stream = BytesIO()
    Image.fromarray(RANDOM.integers(0, 255, (8, 8, 3), dtype=np.uint8)).convert(mode).save(stream, suffix)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (tiff(BANDS16[0], photometric="minisblack"), Pixels(1, 16)),
        (tiff(BANDS16, photometric="minisblack", planarconfig="separate"), Pixels(6, 16)),
        (tiff(BANDS16.transpose(1, 2, 0), photometric="minisblack"), Pixels(6, 16)),
        (tiff(BANDS16[:3].transpose(1, 2, 0), photometric="rgb"), Pixels(3, 16)),
        (
            tiff(BANDS16[:4].transpose(1, 2, 0).astype(np.uint8), photometric="rgb", extrasamples=["unspecified"]),
            Pixels(4),
        ),
        (npy(BANDS16.astype(np.uint8)), Pixels(6)),
        (npy(BANDS16.transpose(1, 2, 0) / 65535), Pixels(6, 16)),
        (npy(BANDS16[0]), Pixels(1, 16)),
        (pillow("RGBA", "TIFF"), Pixels(3)),
        (pillow("CMYK", "JPEG"), Pixels(3)),
        (pillow("L", "PNG"), Pixels(1)),
    ],
)
def test_channels_and_depth(data: bytes, pixels: Pixels) -> None:
    """The header tells both, and decoding gives a square of that kind."""
    assert pixels_of(data) == pixels
    image = decode(data, size=5, pixels=pixels)
    assert image.shape == (pixels.channels, 5, 5)
    assert image.dtype == (torch.uint8 if pixels.depth == 8 else torch.float32)


def test_sixteen_bits_are_kept() -> None:
    """In a 16-bit set, every one of the 65,536 levels has a float of its own."""
    image = decode(tiff(BANDS16, photometric="minisblack"), size=8, pixels=Pixels(6, 16))
    assert np.array_equal((image.double() * 65535).round().numpy().astype(np.uint16), BANDS16)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[[0], [255]]], np.uint8), [0, 255]),
        (np.array([[[0], [65535]]], np.uint16), [0, 255]),
        (np.array([[[0.0], [1.0]]]), [0, 255]),
        (np.array([[[False], [True]]]), [0, 255]),
        (np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8), [0, 255]),
    ],
)
def test_every_type_reaches_the_whole_range(array: NDArray[Any], expected: list[int]) -> None:
    """The least and the greatest value stay that, in 8 and in 16 bits."""
    assert fit(array, Pixels(1)).ravel().tolist() == expected
    assert fit(array, Pixels(1, 16)).ravel().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("array", "channels", "message"),
    [
        (np.zeros((2, 2, 5), np.uint8), 3, "it has 5 channels, the set has 3"),
        (np.full((2, 2, 1), -1.5), 1, r"from -1.5 to -1.5; expected 0 to 65,535, or floats in \[0, 1\]"),
        (np.full((2, 2, 1), np.nan), 1, "expected"),
        (np.full((2, 2, 1), 70_000, np.int32), 1, "to 70000; expected"),
    ],
)
def test_what_does_not_fit_is_told(array: NDArray[Any], channels: int, message: str) -> None:
    """Other bands, and numbers out of range, are no image of this set."""
    with pytest.raises(DataError, match=message):
        fit(array, Pixels(channels))


def test_a_folder_of_bands(tmp_path: Path) -> None:
    """Many-band TIFFs are a source like photographs; mean and std are measured, since none are published."""
    for number in range(3):
        (tmp_path / f"{number}.tif").write_bytes(tiff(BANDS16 // 4, photometric="minisblack"))
    source = open_source(str(tmp_path), image_size=8)
    assert source.input_shape == source.train[0].shape == (6, 8, 8)
    # Their 14 bits reach from 0 to 1.
    assert source.mean == pytest.approx((BANDS16 // 4 / (2**14 - 1)).mean((1, 2)), abs=0.02)


def test_a_folder_of_arrays(tmp_path: Path) -> None:
    """Several .npy files and no other image are one image each."""
    for number in range(3):
        (tmp_path / f"{number}.npy").write_bytes(npy(np.full((8, 8, 5), number, np.uint8)))
    source = open_source(str(tmp_path), image_size=4)
    assert source.input_shape == (5, 4, 4)
    assert [int(source.train[index].max()) for index in range(3)] == [0, 1, 2]


def test_one_deep_image_among_photographs(tmp_path: Path) -> None:
    """A set is 16-bit only where all its images are; a single one is scaled to 8 bits."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(tmp_path / "b.png")
    source = open_source(str(tmp_path), image_size=4)
    assert source.input_shape == (3, 4, 4)
    assert source.train[1].dtype == torch.uint8
    assert source.train[1].unique().tolist() == [255]


def test_without_tifffile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it is told at once, not for every file."""
    (tmp_path / "a.tif").write_bytes(tiff(BANDS16, photometric="minisblack"))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r"needs tifffile; run: pip install 'ssl-registry\[tiff\]'"):
        open_source(str(tmp_path))


def bomb(suffix: str) -> bytes:
    """Return a small file that says it is an image of a third of a gigabyte."""
    stream = BytesIO()
    if suffix == "tiff":
        tiles = (np.zeros((2048, 2048), np.uint8) for _ in range(5 * 4 * 4))
        shape = {"shape": (5, 8192, 8192), "dtype": np.uint8, "tile": (2048, 2048)}
        tifffile.imwrite(stream, tiles, **shape, photometric="minisblack", planarconfig="separate", compression="zlib")
    elif suffix == "npy":
        header = {"descr": "|u1", "fortran_order": False, "shape": (8192, 8192, 5)}
        np.lib.format.write_array_header_1_0(stream, header)  # and no values behind it
    else:
        Image.new("L", (12000, 24000)).save(stream, "JPEG", quality=1)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", ["tiff", "npy"])
def test_small_files_of_large_images_are_refused(suffix: str) -> None:
    """A megabyte that would become a third of a gigabyte is not decoded."""
    data = bomb(suffix)
    assert len(data) < 2**20
    with pytest.raises(DataError, match=r"become 0\.3 GB of pixels"):
        decode(data, size=8, pixels=Pixels(5))


def test_a_small_jpeg_of_a_large_photograph_is_refused() -> None:
    """Its header alone is read, by the fast reader, and Pillow's limit holds."""
    pytest.importorskip("simplejpeg")
    data = bomb("jpeg")
    with pytest.raises(DataError, match=r"more than Pillow.s limit"):
        EncodedPhoto(data, Pixels(1))


def test_a_bomb_in_a_folder_is_a_broken_image(tmp_path: Path) -> None:
    """The next image takes its place, as for every other one that cannot be read."""
    for number in range(3):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    (tmp_path / "3.tif").write_bytes(bomb("tiff"))
    source = open_source(str(tmp_path), DataOptions(image_size=8))
    assert len([source.train[index] for index in range(4)]) == 4
    (why,) = source.train.broken.values()
    assert "GB of pixels" in why


def scans(folder: Path, most: int, *, count: int = 4) -> str:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        values = np.linspace(0, most * (number + 1) / count, 64).astype(np.uint16).reshape(8, 8)
        Image.fromarray(values).save(folder / f"{number}.png")
    return str(folder)


@pytest.mark.parametrize(("most", "bits"), [(4021, 12), (1023, 10), (200, 8), (32_000, 15), (65_535, 16), (40_000, 16)])
def test_bits_that_are_used(tmp_path: Path, most: int, bits: int) -> None:
    """12 bits in a file of 16 are no black image: they reach from 0 to 1, and the line says so."""
    source = open_source(scans(tmp_path / "scans", most), image_size=8)
    assert float(source.train[3].max()) == pytest.approx(most / (2**bits - 1), abs=1e-4)
    assert source.value_range == (None if bits == 16 else (0, 2**bits - 1))
    assert (f"read as {bits} bits" in source.decided) == (bits < 16)


def test_a_range_of_ones_own(tmp_path: Path) -> None:
    """It scales floats too; what exceeds it is never cut off."""
    folder = scans(tmp_path / "scans", 4021)
    assert float(open_source(folder, image_size=8, value_range=(0, 65_535)).train[3].max()) < 0.07
    with pytest.raises(DataError, match=r"and the set is read from 0 to 1000; .*--data.range"):
        open_source(folder, image_size=8, value_range=(0, 1000))
    (tmp_path / "x").mkdir()
    for name in ("a", "b"):
        np.save(tmp_path / "x" / f"{name}.npy", np.linspace(-1000, 400, 64, dtype=np.float32).reshape(8, 8))
    with pytest.raises(DataError, match=r"their range: --data\.range LOW,HIGH"):
        open_source(str(tmp_path / "x"), image_size=8, modality="image")
    source = open_source(str(tmp_path / "x"), image_size=8, modality="image", value_range=(-1000, 1000))
    assert [float(source.train[0].min()), float(source.train[0].max())] == pytest.approx([0, 0.7])


def test_a_range_that_means_nothing(tmp_path: Path) -> None:
    """Of photographs, and one that ends before it begins."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="have 8 bits, leave it out"):
        open_source(str(tmp_path), value_range=(0, 100))
    with pytest.raises(ConfigError, match="lower value first"):
        open_source(str(tmp_path), value_range=(100, 0))
    with pytest.raises(ConfigError, match=r"--data\.range"):
        open_source("digits", value_range=(0, 100))
