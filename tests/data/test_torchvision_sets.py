"""Data sets of torchvision, laid out on the disk as it expects them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Imagenette

from ssl_registry.data import SSLDataModule, broken_samples, open_source
from ssl_registry.data.images.image_files import ImageFiles
from ssl_registry.data.sources.torchvision_sets import set_names
from ssl_registry.errors import DataError


def picture(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (level, level, level)).save(path)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """MNIST's four files, with 12 and 5 images."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 12), ("t10k", 5)):
        images = np.arange(count, dtype=np.uint8).repeat(28 * 28)
        header = np.array([0x803, count, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(np.array([0x801, count], ">i4").tobytes() + labels.tobytes())
    return tmp_path


@pytest.mark.parametrize("spec", ["MNIST", "torchvision:MNIST"])
def test_in_memory(spec: str, mnist: Path) -> None:
    """A set that torchvision holds in memory stays there as uint8, in its own size."""
    source = open_source(spec, data_root=mnist)
    assert (source.name, source.modality, source.input_shape) == ("MNIST", "image", (1, 28, 28))
    assert (len(source.train), len(source.test)) == (12, 5)
    image, label = source.train[3]
    assert (image.dtype, image.unique().tolist(), int(label)) == (torch.uint8, [3], 3)
    assert source.classes[3] == "3 - three"


def test_in_memory_resized(mnist: Path) -> None:
    """image_size resizes it once."""
    assert open_source("MNIST", data_root=mnist, image_size=32).train.x.shape == (12, 1, 32, 32)


def test_split_argument(tmp_path: Path) -> None:
    """Sets that call their parts by name are asked for train and test; images are decoded when asked for."""
    root = tmp_path / "dtd" / "dtd"
    (root / "labels").mkdir(parents=True)
    for part, numbers in (("train", (1, 2)), ("test", (3,))):
        files = [f"{name}/{name}_{number}.jpg" for name in ("dotted", "woven") for number in numbers]
        for number, file in enumerate(files):
            picture(root / "images" / file, 50 * number)
        (root / "labels" / f"{part}1.txt").write_text("\n".join(files))
    source = open_source("DTD", data_root=tmp_path, image_size=4)
    assert source.classes == ("dotted", "woven")
    assert (len(source.train), len(source.test)) == (4, 2)
    image, label = source.train[2]
    assert image.shape == source.input_shape == (3, 4, 4)
    assert (image.unique().tolist(), int(label)) == ([100], 1)


def test_set_without_parts_is_held_out_from(tmp_path: Path) -> None:
    """A set of one part gives up a share of each class; batches carry images and labels."""
    for name in ("Forest", "River"):
        for number in range(5):
            picture(tmp_path / "eurosat" / "2750" / name / f"{name}_{number}.jpg", number)
    source = open_source("EuroSAT", data_root=tmp_path, image_size=4)
    assert (len(source.train), len(source.test)) == (8, 2)
    assert "train: 8 samples; test: 2 samples, held out" in source.decided
    x, y = next(iter(SSLDataModule(source, batch_size=8).train_dataloader()))
    assert x.shape == (8, 3, 4, 4)
    assert torch.bincount(y).tolist() == [4, 4]


@pytest.fixture
def imagenette(tmp_path: Path) -> Path:
    """Two images of each of its ten classes a part, of which one is broken."""
    for part in ("train", "val"):
        for number, name in enumerate(Imagenette._WNID_TO_CLASS):
            for copy in range(2):
                picture(tmp_path / "imagenette2" / part / name / f"{name}_{copy}.JPEG", 20 * number)
    (tmp_path / "imagenette2" / "train" / name / f"{name}_1.JPEG").write_bytes(b"broken")
    return tmp_path


def test_files_are_read_as_those_of_a_folder(imagenette: Path) -> None:
    """A set that tells its files has their classes, and a broken one is replaced and named."""
    source = open_source("Imagenette", data_root=imagenette, image_size=4)
    assert isinstance(source.train, ImageFiles)
    assert (len(source.train), len(source.test)) == (20, 20)
    pairs = [source.train[index] for index in range(20)]
    assert [int(label) for _, label in pairs[:19]] == [number // 2 for number in range(19)]
    assert all(int(image.float().mean().round()) == pytest.approx(20 * int(label), abs=2) for image, label in pairs)
    (name,) = broken_samples(source)
    assert name.endswith("_1.JPEG")


def test_what_torchvision_alone_can_find_it_decodes(tmp_path: Path) -> None:
    """A set whose list is one of names, not of files: by torchvision's own hand, held out from all the same."""
    for name in ("accordion", "airplanes"):
        for number in range(1, 6):
            picture(tmp_path / "caltech101/101_ObjectCategories" / name / f"image_{number:04d}.jpg", 7 * number)
        (tmp_path / "caltech101/Annotations" / name).mkdir(parents=True)
    (tmp_path / "caltech101/101_ObjectCategories/BACKGROUND_Google").mkdir()
    source = open_source("Caltech101", data_root=tmp_path, image_size=4)
    assert (len(source.train), len(source.test)) == (8, 2)
    assert source.train[0][0].shape == (3, 4, 4)
    assert sorted(int(label) for _, label in source.test) == [0, 1]


def test_targets_that_are_no_classes(tmp_path: Path) -> None:
    """Boxes and masks are no classes: images alone; a part that torchvision calls val is the test part."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for number, part in enumerate(("train", "val")):
        picture(root / "JPEGImages" / f"{part}.jpg", number)
        (root / "Annotations" / f"{part}.xml").write_text("<annotation><folder>x</folder></annotation>")
        (root / "ImageSets" / "Main" / f"{part}.txt").write_text(f"{part}\n")
    source = open_source("VOCDetection", data_root=tmp_path, image_size=4)
    assert not source.labeled
    assert source.train[0].shape == (3, 4, 4)
    assert source.test[0].unique().tolist() == [1]
    assert "without labels" in source.notes[0]


@pytest.mark.parametrize("name", ["CIFAR10", "MNIST", "STL10", "DTD", "Food101", "EMNIST"])
def test_missing_set_tells_where_it_was_looked_for(name: str, tmp_path: Path) -> None:
    """Nothing is downloaded; the error tells the folder, and how to fetch the set once."""
    root = tmp_path / "nothing"
    with pytest.raises(DataError, match=f"{name} is not in {root}.*datasets.{name}.*download=True"):
        open_source(name, data_root=root)
    assert not root.exists()


def test_default_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without data_root sets lie in the folder data."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"CIFAR10 is not in {tmp_path}/data"):
        open_source("CIFAR10")


def test_unknown_name_answers_with_the_nearest() -> None:
    """With the prefix, a name that torchvision lacks is told with what it has."""
    with pytest.raises(DataError, match=r"no data set 'CIFAR11'. Did you mean 'CIFAR10'.*It has: .*SVHN"):
        open_source("torchvision:CIFAR11")


@pytest.mark.parametrize("name", ["ImageFolder", "FakeData", "VisionDataset"])
def test_bases_are_no_sets(name: str) -> None:
    """What holds no data of its own is not offered."""
    assert name not in set_names()


def test_corrupt_files_are_told(mnist: Path) -> None:
    """A file that torchvision cannot parse is an error of the data, not a crash."""
    (mnist / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(gzip.compress(b"nonsense"))
    with pytest.raises(DataError, match="MNIST"):
        open_source("MNIST", data_root=mnist)
