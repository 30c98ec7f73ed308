"""Folders of images and masks: which belong together, what masks hold, and what is refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import shapes, write_shapes

from ssl_registry.data.images.masks import open_masks
from ssl_registry.errors import DataError


def opened(root, size=32):
    return open_masks(root, size=size, channels=3)


@pytest.mark.parametrize(
    "layout", ["{part}/{kind}", "{kind}/{part}", "set/{kind}/{part}", "{kind}/{part}/town", "{part}/{kind}/a/b"]
)
@pytest.mark.parametrize("palette", [False, True])
def test_layouts(tmp_path, layout, palette):
    """Parts above or below, folders within; a palette's indices are the classes; each mask goes with its image."""
    root = write_shapes(tmp_path, (("train", 3), ("val", 2)), layout=layout, palette=palette)
    found = opened(root)
    assert (len(found.train), len(found.test), found.notes) == (3, 2, [])
    for part, seed in ((found.train, 0), (found.test, 1)):
        images, masks = shapes(len(part), seed=seed)
        for n in range(len(part)):
            image, number = part.images[n]
            assert int(number) == n
            assert torch.equal(image, torch.from_numpy(images[n]).permute(2, 0, 1))
            assert torch.equal(part.mask(n), torch.from_numpy(masks[n]))


@pytest.mark.parametrize(
    ("images", "masks"), [("img", "annotations"), ("JPEGImages", "SegmentationClass"), ("image", "labels")]
)
def test_other_names(tmp_path, images, masks):
    """Those of ADE20K, Pascal VOC and Kaggle."""
    write_shapes(tmp_path, (("training", 2), ("validation", 2)), layout="{kind}/{part}")
    (tmp_path / "images").rename(tmp_path / images)
    (tmp_path / "masks").rename(tmp_path / masks)
    assert len(opened(tmp_path).train) == 2


def test_without_parts_a_fifth_is_held_out(tmp_path):
    """By the seed, and it is said."""
    write_shapes(tmp_path, (("x", 10),), layout="{kind}")
    found = opened(tmp_path)
    assert (len(found.train), len(found.test)) == (8, 2)
    assert found.notes == ["no held-out part: 2 of 10 images are held out, with seed 0"]
    assert not set(found.train.masks) & set(found.test.masks)


def test_a_test_part_without_masks_is_passed_over(tmp_path):
    """Benchmarks keep those back: the validation part is measured."""
    write_shapes(tmp_path, (("train", 3), ("val", 2), ("test", 2)), layout="{kind}/{part}")
    for file in (tmp_path / "masks/test").iterdir():
        file.unlink()
    found = opened(tmp_path)
    assert len(found.test) == 2
    assert "val0" in found.test.masks[0]
    assert found.notes == ["part test: left out"]


def test_images_that_are_not_square(tmp_path):
    """The centered square of both; the mask keeps its pixels, or is resized without new values."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    mask = np.zeros((20, 40), np.uint8)
    mask[:, 10:20], mask[:, 20:30] = 5, 255
    for name in ("a", "b"):
        Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / f"images/{name}.jpg")
        Image.fromarray(mask).save(tmp_path / f"masks/{name}.png")
    part = opened(tmp_path).train
    assert part.mask(0).tolist() == [[5] * 10 + [255] * 10] * 20
    assert part.mask(0, 4).tolist() == [[5, 5, 255, 255]] * 4
    assert part.images[0][0].shape == (3, 32, 32)


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_ways_to_store_classes(tmp_path, mode):
    """Bits, bytes, a palette, and wider numbers."""
    root = write_shapes(tmp_path, (("train", 2), ("val", 1)), layout="{kind}/{part}")
    wanted = np.arange(32 * 32).reshape(32, 32) % (2 if mode == "1" else 200)
    array = wanted.astype({"1": bool, "I;16": np.uint16}.get(mode, np.uint8))
    picture = Image.fromarray(array)
    if mode == "P":
        picture = Image.new("P", (32, 32))
        picture.putdata(wanted.flatten().tolist())
        picture.putpalette(list(range(256)) * 3)
    assert picture.mode == mode
    picture.save(root / "masks/train/train0.png")
    assert opened(root).train.mask(0).tolist() == wanted.tolist()


def break_size(root):
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(root / "masks/train/train0.png")


def break_colors(root):
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(root / "masks/train/train0.png")


def break_range(root):
    Image.fromarray(np.full((32, 32), 300, np.uint16)).save(root / "masks/train/train0.png")


def break_file(root):
    (root / "masks/train/train0.png").write_bytes(b"nothing")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (break_size, r"train0\.png has 6 x 5 pixels and its image .*train0\.png 32 x 32; .* the same size"),
        (
            break_colors,
            r"train0\.png is a picture in RGB without a palette.* one channel of class indices, or a palette",
        ),
        (break_range, r"train0\.png holds numbers from 300 to 300"),
        (break_file, r"train0\.png cannot be read as a mask"),
    ],
)
def test_masks_that_are_none(tmp_path, broken, words):
    """One line with the file, the fact, and what mends it."""
    root = write_shapes(tmp_path, (("train", 2), ("val", 1)), layout="{kind}/{part}")
    broken(root)
    with pytest.raises(DataError, match=words):
        opened(root).train.mask(0)


def test_folders_that_do_not_fit(tmp_path):
    """No masks, files without a counterpart on either side, two for one, masks as JPEG, one image, no folder."""
    root = write_shapes(tmp_path / "x", (("train", 4), ("val", 1)), layout="{kind}/{part}")
    (root / "masks/train/train1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 4 images in .* have no mask of the same name: .*train1\.png; add"):
        opened(root)
    (root / "images/train/train1.png").unlink()
    (root / "images/train/train2.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 masks in .* have no image of the same name: .*train2\.png"):
        opened(root)
    (root / "masks/train/train2.png").rename(root / "masks/train/train0.bmp")
    with pytest.raises(DataError, match="have one name but for the suffix"):
        opened(root)
    (root / "masks/train/train0.bmp").unlink()
    (root / "masks/train/train0.png").rename(root / "masks/train/train0.jpg")
    with pytest.raises(DataError, match=r"1 masks in .* are \.jpg, which changes classes"):
        opened(root)
    with pytest.raises(DataError, match="holds 3 images and no masks; give a folder with images/ and masks/"):
        opened(root / "images")
    with pytest.raises(DataError, match="is no folder"):
        opened(root / "nowhere")
    with pytest.raises(DataError, match="holds one image with a mask"):
        opened(write_shapes(tmp_path / "one", (("x", 1),), layout="{kind}"))


def test_channels_are_those_of_the_network(tmp_path):
    """Gray images stand three times for a network that takes color; color is not read as gray unasked."""
    root = write_shapes(tmp_path, (("train", 2), ("val", 1)))
    with pytest.raises(DataError, match="has images of 3 channels, and the network takes 1"):
        open_masks(root, size=32, channels=1)
    for file in root.glob("*/images/*.png"):
        Image.open(file).convert("L").save(file)
    x, _ = open_masks(root, size=32, channels=3).train.images[0]
    assert torch.equal(x[0], x[2])
    assert open_masks(root, size=32, channels=1).train.images[0][0].shape == (1, 32, 32)
