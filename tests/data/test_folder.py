"""Folders of images as people have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.data.images.layout import read_layout
from ssl_registry.data.images.listing import find_images
from ssl_registry.errors import ConfigError, DataError

# Python 3.12 warns of every fork of a process with threads, and torch has threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Draw small images of one colour at paths below a folder; return the folder."""

    def drawn(*paths: str, mode: str = "RGB") -> Path:
        for number, name in enumerate(paths):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), (number, number, number)).convert(mode).save(path)
        return tmp_path

    return drawn


def names(dataset: object) -> list[str]:
    return [path.name for path in dataset.files]


def test_flat_folder_has_no_labels(draw: Draw) -> None:
    """Images that lie side by side are samples without labels; nothing is held out."""
    root = draw("b.png", "a.jpg", "c.PNG")
    source = open_source(str(root), image_size=8)
    assert (source.modality, source.input_shape, source.classes, source.test) == ("image", (3, 8, 8), None, None)
    assert names(source.train) == ["a.jpg", "b.png", "c.PNG"]
    assert source.train[0].shape == (3, 8, 8)
    assert source.train[0].dtype == torch.uint8


def test_class_folders(draw: Draw) -> None:
    """Sub-folders are classes in sorted order, with what is nested; a share of each is held out."""
    paths = [f"{name}/{deep}{i}.png" for name in ("dog", "cat") for i in range(5) for deep in ("", "more/")]
    source = open_source(str(draw(*paths)), image_size=4)
    assert source.classes == ("cat", "dog")
    assert (len(source.train), len(source.test)) == (16, 4)
    for part in (source.train, source.test):
        for path, label in zip(part.files, part.labels, strict=True):
            assert ("dog" in path.parts) == bool(label)
    assert torch.bincount(source.test.labels).tolist() == [2, 2]
    assert not set(source.train.files) & set(source.test.files)
    image, label = source.train[0]
    assert image.shape == (3, 4, 4)
    assert label.dtype == torch.int64


def test_default_size(draw: Draw) -> None:
    """Files come at 224 pixels."""
    assert open_source(str(draw("a.png"))).input_shape == (3, 224, 224)


@pytest.mark.parametrize("test", ["test", "val"])
def test_parts_of_its_own(test: str, draw: Draw) -> None:
    """train beside test or val are the parts, each with its classes."""
    root = draw("train/a/1.png", "train/b/2.png", "train/b/3.png", f"{test}/b/4.png")
    source = open_source(str(root), image_size=4)
    assert names(source.train) == ["1.png", "2.png", "3.png"]
    assert names(source.test) == ["4.png"]
    assert source.test.labels.tolist() == [1]


def test_test_wins_over_val(draw: Draw) -> None:
    """Where there are both, val is left alone."""
    source = open_source(str(draw("train/1.png", "test/2.png", "val/3.png")), image_size=4)
    assert names(source.test) == ["2.png"]
    assert not source.labeled


def test_unlabelled_test_part_is_not_used(draw: Draw) -> None:
    """Images without class folders cannot test labelled ones, and that is said."""
    source = open_source(str(draw("train/a/1.png", "train/b/2.png", "test/3.png")), image_size=4)
    assert source.test is None
    assert "(1 images of a test part that has no class folders)" in source.decided


def test_unknown_class_in_the_test_part(draw: Draw) -> None:
    """A class that was never trained is an error that names it."""
    root = draw("train/a/1.png", "train/b/2.png", "test/b/3.png", "test/c/4.png")
    with pytest.raises(DataError, match=r"has the class 'c', .* has not; it has: a, b"):
        open_source(str(root))


def test_wrapping_folders_are_looked_through(draw: Draw) -> None:
    """A folder that holds one folder is no class."""
    source = open_source(str(draw("photos/2024/a/1.png", "photos/2024/b/2.png")), holdout=0)
    assert source.classes == ("a", "b")
    assert not open_source(str(draw("x/y/1.png")) + "/x").labeled


def test_images_beside_folders_make_no_classes(draw: Draw) -> None:
    """With images directly in the folder, sub-folders are mere order."""
    source = open_source(str(draw("0.png", "a/1.png", "b/2.png")))
    assert len(source.train) == 3
    assert not source.labeled


def test_hidden_and_other_files_are_left_out(draw: Draw) -> None:
    """Thumbnails of the system, hidden folders and notes are no samples."""
    root = draw("a.png", ".hidden.png", ".cache/b.png", "__MACOSX/c.png")
    (root / "notes.txt").write_text("no image")
    assert names(open_source(str(root)).train) == ["a.png"]


def test_links_that_lead_back_end(draw: Draw) -> None:
    """A link to a folder above is followed once; one to elsewhere is followed."""
    root = draw("in/a/1.png", "in/b/2.png", "elsewhere/3.png")
    (root / "in" / "a" / "up").symlink_to(root / "in")
    (root / "in" / "c").symlink_to(root / "elsewhere")
    (root / "in" / "d").symlink_to(root / "nowhere")
    (root / "in" / "e.png").symlink_to(root / "in" / "e.png")
    found = find_images(root / "in")
    assert sorted(path.name for path in found.loops) == ["e.png", "up"]
    assert "up' (leads back" in open_source(str(root / "in"), holdout=0).decided
    assert sorted(Path(path).name for path in found.files) == ["1.png", "2.png", "3.png"]
    assert read_layout(root / "in").train.labels == ["a", "b", "c"]


def test_grey_folder_is_grey(draw: Draw) -> None:
    """When all the images looked at are grey, samples have one channel."""
    source = open_source(str(draw(*(f"{i}.png" for i in range(20)), mode="L")), image_size=4)
    assert source.input_shape == (1, 4, 4)
    assert names(source.train)[7] == "15.png"
    assert source.train[7].unique().tolist() == [15]
    assert len(source.mean) == len(source.std) == 1


def test_one_colour_image_makes_it_rgb(draw: Draw) -> None:
    """A folder of both is RGB, with ImageNet's mean and std."""
    root = draw(*(f"{i}.png" for i in range(10)), mode="L")
    draw("5.png")
    source = open_source(str(root), image_size=4)
    assert source.input_shape == (3, 4, 4)
    assert source.mean == (0.485, 0.456, 0.406)


def test_broken_file_is_replaced_and_counted(draw: Draw) -> None:
    """The next file that can be read takes its place, with its own label; the data set names it and says why."""
    root = draw("a/1.png", "a/2.png", "b/3.png", "b/4.png")
    (root / "a" / "2.png").write_bytes(b"no image")
    source = open_source(str(root), image_size=4, holdout=0)
    for _ in range(2):
        image, label = source.train[1]
        assert (image.unique().tolist(), int(label)) == ([2], 1)
    assert list(source.train.broken) == [str(root / "a" / "2.png")]
    assert source.train.broken[str(root / "a" / "2.png")] == "no image that Pillow can read: text"


def test_truncated_file_at_the_end(draw: Draw) -> None:
    """After the last file comes the first; half a file is a broken one."""
    root = draw("1.png", "2.png")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "3.png")
    (root / "3.png").write_bytes((root / "3.png").read_bytes()[:2000])
    source = open_source(str(root), image_size=4)
    assert source.train[2].unique().tolist() == [0]
    assert "truncated" in source.train.broken[str(root / "3.png")]


def test_workers_share_the_count(draw: Draw) -> None:
    """What a worker process found broken, the main process can report; the epoch goes on."""
    root = draw(*(f"{i}.png" for i in range(8)))
    (root / "3.png").write_bytes(b"no image")
    source = open_source(str(root), image_size=4)
    loader = SSLDataModule(source, batch_size=4, num_workers=2).train_eval_dataloader()
    images = torch.cat(list(loader))
    assert len(images) == 8
    assert images[3].unique().tolist() == [4]
    assert list(source.train.broken) == [str(root / "3.png")]


def test_no_readable_file(draw: Draw) -> None:
    """Files that only look like images are told at once."""
    (draw() / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the 1 image files in .* can be read"):
        open_source(str(draw()))


def test_files_that_break_later(draw: Draw) -> None:
    """When no file is left to take the place, the error says so instead of going round."""
    root = draw("a.png", "b.png")
    source = open_source(str(root), image_size=4)
    for path in source.train.files:
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the 2 images can be read, from .*a\.png on"):
        source.train[0]


def test_empty_folder(tmp_path: Path) -> None:
    """An error tells what is there instead of images."""
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"holds no images \(.*\.jpg.*directly in it: 1 \.txt"):
        open_source(str(tmp_path))
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"give the file itself: .*x\.npy"):
        open_source(str(tmp_path))


def test_index_out_of_range(draw: Draw) -> None:
    """Going through the data set by index ends."""
    assert len(list(open_source(str(draw("a.png", "b.png")), image_size=4).train)) == 2


def test_kind_is_for_arrays(draw: Draw) -> None:
    """A folder holds images, whatever the user says."""
    with pytest.raises(ConfigError, match="modality='signal' is for array files"):
        open_source(str(draw("a.png")), modality="signal")


def test_tables_beside_images_are_told(draw: Draw) -> None:
    """As Kaggle and COCO have them: nobody shall think that their labels were read. Class folders need none."""
    root = draw("train/a.png", "train/b.png", "test/c.png")
    (root / "train.csv").write_text("id,label\n")
    assert "left out: 'train.csv' (beside the images" in open_source(str(root)).decided
    root = draw("train/cat/a.png", "train/dog/b.png", "test/cat/d.png", "test/dog/c.png")
    for stray in ("train/a.png", "train/b.png", "test/c.png"):
        (root / stray).unlink()
    assert "train.csv" not in open_source(str(root)).decided


def test_enlarging_is_told(draw: Draw) -> None:
    """Where every image that was looked at is smaller than what it becomes."""
    root = str(draw("b.png", "a.jpg"))
    assert "images of 4 pixels and fewer, enlarged to 8 (--image-size)" in open_source(root, image_size=8).decided
    assert "enlarged" not in open_source(root, image_size=4).decided
    Image.new("RGB", (32, 32)).save(Path(root) / "large.png")
    assert "enlarged" not in open_source(root, image_size=8).decided
