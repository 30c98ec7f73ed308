"""What the folders of images mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ssl_registry.data import open_source
from ssl_registry.errors import DataError


def draw(root: Path, *paths: str) -> str:
    for number, name in enumerate(paths):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), (number, number, number)).save(path)
    return str(root)


def files(part: object) -> list[str]:
    return [path.name for path in part.files]


@pytest.mark.parametrize("above", ["", "set/", "data/set/"])
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "val"),
        ("Train", "Test"),
        ("training", "testing"),
        ("TRAIN", "VALIDATION"),
        ("train", "dev"),
        ("train", "holdout"),
        ("train2017", "val2017"),
        ("tr", "eval"),
        ("train_images", "test_images"),
    ],
)
def test_parts_wherever_they_lie(tmp_path: Path, above: str, train: str, test: str) -> None:
    """They are parts, and never classes."""
    names = [f"{above}{train}/{name}/{i}.png" for name in ("dark", "bright") for i in range(2)]
    source = open_source(draw(tmp_path, *names, f"{above}{test}/dark/8.png", f"{above}{test}/bright/9.png"))
    assert source.classes == ("bright", "dark")
    assert sorted(files(source.test)) == ["8.png", "9.png"]
    assert (len(source.train), "train: 4 samples; test: 2 samples" in source.decided) == (4, True)


def test_parts_below_each_class(tmp_path: Path) -> None:
    """Classes that each have the same parts."""
    names = [f"{name}/{part}/{i}.png" for name in ("cat", "dog") for part in ("train", "test") for i in range(2)]
    source = open_source(draw(tmp_path, *names))
    assert (source.classes, len(source.train), len(source.test)) == (("cat", "dog"), 4, 4)
    assert all("train" in path.parts for path in source.train.files)


def test_unlabelled_images_are_trained_on(tmp_path: Path) -> None:
    """Beside labelled ones; they have the label -1, and none of them is held out."""
    names = [f"train/{name}/{i}.png" for name in ("a", "b") for i in range(5)]
    source = open_source(draw(tmp_path, *names, "unlabeled/x.png", "unlabeled/y.png"))
    assert (len(source.train), len(source.test)) == (10, 2)
    assert source.train.labels.tolist().count(-1) == 2
    assert -1 not in source.test.labels.tolist()
    assert "2 of them without a label" in source.decided


def test_a_second_held_out_part_is_told(tmp_path: Path) -> None:
    """So are folders beside the parts."""
    source = open_source(draw(tmp_path, "train/1.png", "test/2.png", "val/3.png", "masks/4.png"))
    assert files(source.train) == ["1.png"]
    assert "'masks' (1 images in no part)" in source.decided
    assert "'val' (1 images of a second held-out part)" in source.decided


@pytest.mark.parametrize("names", [("train", "cat", "dog"), ("test", "val"), ("Testing", "a")])
def test_classes_named_like_parts_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Nothing is guessed: the message says what to write."""
    with pytest.raises(DataError, match=r"named like parts: .*--data .*--data\.test FOLDER.*rename them"):
        open_source(draw(tmp_path, *(f"{name}/{i}.png" for name in names for i in range(2))))


def test_a_class_called_train(tmp_path: Path) -> None:
    """Within parts it is the vehicle."""
    names = [f"{part}/{name}/1.png" for part in ("train", "val") for name in ("bus", "train")]
    assert open_source(draw(tmp_path, *names)).classes == ("bus", "train")


def test_a_stray_image_keeps_the_classes(tmp_path: Path) -> None:
    """It is left out and told; a pile beside folders makes them mere order."""
    names = [f"{name}/{i}.png" for name in ("a", "b") for i in range(4)]
    source = open_source(draw(tmp_path, *names, "logo.png"), holdout=0)
    assert (source.classes, len(source.train)) == (("a", "b"), 8)
    assert "logo.png' (beside the class folders)" in source.decided
    source = open_source(draw(tmp_path, *(f"pile{i}.png" for i in range(9))), holdout=0)
    assert (source.classes, len(source.train)) == (None, 18)
    assert "10 images lie beside 2 folders: the folders are no classes" in source.notes


def test_a_stray_image_above_parts(tmp_path: Path) -> None:
    """It hides no part."""
    source = open_source(draw(tmp_path, "logo.png", "set/train/1.png", "set/train/2.png", "set/test/3.png"))
    assert (files(source.train), files(source.test)) == (["1.png", "2.png"], ["3.png"])


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "__MACOSX", "lost+found"])
def test_folders_of_the_system(tmp_path: Path, name: str) -> None:
    """Thumbnails and bins are no class."""
    names = [f"{folder}/{i}.png" for folder in ("a", "b") for i in range(2)]
    source = open_source(draw(tmp_path, *names, f"{name}/1.png", f"a/{name}/2.png"), holdout=0)
    assert (source.classes, len(source.train)) == (("a", "b"), 4)
    assert f"'{name}' (a folder of the system)" in source.decided


def test_two_links_to_one_folder(tmp_path: Path) -> None:
    """It is read once, under its first name, and that is told."""
    draw(tmp_path, "store/1.png", "in/c/2.png")
    for name in ("a", "b"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "store")
    source = open_source(str(tmp_path / "in"), holdout=0)
    assert source.classes == ("a", "c")
    assert "b' (is the same folder as" in source.decided


def test_formats_that_are_not_read(tmp_path: Path) -> None:
    """They are counted, and arrays beside images too."""
    root = draw(tmp_path, "1.png")
    for name in ("2.avif", "3.AVIF", "4.jp2", "5.npy", "6.txt"):
        (tmp_path / name).write_bytes(b"x")
    told = open_source(root).decided
    assert "'2 .avif' (a format that is not read; convert to .png or .jpg), '1 .jp2'" in told
    assert "'1 .npy' (arrays beside images)" in told


def test_the_test_part_by_name(tmp_path: Path) -> None:
    """A folder of its own that nothing else would find."""
    names = [f"mine/{name}/{i}.png" for name in ("a", "b") for i in range(4)]
    draw(tmp_path, *names, "other/a/8.png", "other/b/9.png")
    source = open_source(str(tmp_path / "mine"), test_data=str(tmp_path / "other"))
    assert (len(source.train), sorted(files(source.test))) == (8, ["8.png", "9.png"])


def test_options_about_columns_are_refused(tmp_path: Path) -> None:
    """A folder has none."""
    with pytest.raises(Exception, match=r"--data\.label names a column"):
        open_source(draw(tmp_path, "1.png"), label_column="a")
