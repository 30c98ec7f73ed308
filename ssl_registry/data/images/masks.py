"""Images and their masks in folders: which mask belongs to which image, and what its pixels mean."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.image_files import ImageFiles
from ssl_registry.data.images.inspect_images import probe
from ssl_registry.data.images.listing import find_images
from ssl_registry.data.images.pixels import Pixels
from ssl_registry.data.options import DataOptions
from ssl_registry.data.parts import HELD_OUT, PartName, folder_part
from ssl_registry.errors import DataError

__all__ = ["HOLDOUT", "MaskedImages", "MaskedParts", "open_masks"]

IMAGES = frozenset({"images", "image", "imgs", "img", "jpegimages", "photos"})
MASKS = frozenset(
    {"masks", "mask", "annotations", "annotation", "labels", "label", "segmentation", "segmentations"}
    | {"segmentationclass", "segmentationmasks", "gt", "groundtruth", "ground_truth"}
)
# What changes pixels where it saves space would change classes.
LOSSY = frozenset({".jpg", ".jpeg", ".jfif"})
GRAY = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N"})
HOLDOUT = 0.2  # of the images, where no part is held out
SHOWN = 3  # names in a message
LAYOUT = (
    "give a folder with images/ and masks/ (or annotations/, labels/), whose files have the same names but for the "
    "suffix"
)


class MaskedImages:
    """Image files, each with the file of its mask.

    Args:
        images: paths of the images.
        masks: of their masks, in the same order.
        size: side of the images in pixels; of each the centered square is resized to it.
        pixels: channels and depth of the images.

    Attributes:
        images: the data set, whose labels are the images' own numbers.
    """

    def __init__(self, images: list[str], masks: list[str], *, size: int, pixels: Pixels) -> None:
        self.images = ImageFiles(images, list(range(len(images))), size=size, pixels=pixels)
        self.masks = masks

    def __len__(self) -> int:
        return len(self.masks)

    def mask(self, index: int, side: int | None = None) -> Tensor:
        """Read the mask of an image: classes of its centered square.

        Args:
            index: of the image.
            side: in pixels, resized by nearest neighbors; None leaves it as it is stored.

        Returns:
            uint8 [side, side]: 0 to 254, and 255 where there is no class.

        Raises:
            DataError: for a file that is no mask, or one of another size than its image.
        """
        path = self.masks[index]
        values = _read_mask(path)
        with Image.open(self.images.name(index)) as image:
            width, height = ImageOps.exif_transpose(image).size
        if values.shape != (height, width):
            raise DataError(
                f"{path} has {values.shape[1]} x {values.shape[0]} pixels and its image {self.images.name(index)} "
                f"{width} x {height}; a mask has a class for each pixel of its image, so give it the same size"
            )
        square = min(height, width)
        top, left = (height - square) // 2, (width - square) // 2
        values = values[top : top + square, left : left + square]
        if side is not None and side != square:
            at = ((2 * np.arange(side) + 1) * square) // (2 * side)
            values = values[at][:, at]
        return torch.from_numpy(np.ascontiguousarray(values))


@dataclass(frozen=True)
class MaskedParts:
    """A folder of images and masks as it was understood.

    Args:
        train, test: the parts.
        notes: what was decided, in words.
    """

    train: MaskedImages
    test: MaskedImages
    notes: list[str] = field(default_factory=list)


@dataclass
class _Part:
    images: dict[str, str] = field(default_factory=dict)  # by name without folder of its kind and suffix
    masks: dict[str, str] = field(default_factory=dict)


def open_masks(root: Path, *, size: int, channels: int, seed: int = 0) -> MaskedParts:
    """Open a folder of images and masks.

    A folder named ``images`` (``img``, ``JPEGImages``, ...) holds images and one named ``masks`` (``annotations``,
    ``labels``, ``SegmentationClass``, ...) masks, above or below the folders of parts, ``train`` and ``val`` or
    ``test``. Image and mask have the same path but for that folder and the suffix. Without parts a fifth is held out.

    Args:
        root: the folder.
        size: side of the images in pixels.
        channels: that the network takes; gray images stand three times for one that takes color.
        seed: of what is held out.

    Raises:
        DataError: if there are no masks, files without a counterpart, no two images, or images of other channels.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder; {LAYOUT}")
    try:
        found = find_images(root)
    except OSError as error:
        raise DataError(f"{root} cannot be looked through ({error}); expected a folder that you may read") from error
    parts: dict[PartName | None, _Part] = {}
    beside = 0
    for name, file in zip(found.names, found.files, strict=True):
        *folders, last = name.split(os.sep)
        kinds = [n for n, folder in enumerate(folders) if folder.lower() in IMAGES | MASKS]
        if not kinds:
            beside += 1
            continue
        at = kinds[-1]
        named = [folder_part(folder) for n, folder in enumerate(folders) if n != at]
        part = parts.setdefault(next((one for one in named if one is not None), None), _Part())
        files = part.masks if folders[at].lower() in MASKS else part.images
        stem = os.sep.join([*folders[:at], *folders[at + 1 :], os.path.splitext(last)[0]])
        if stem in files:
            raise DataError(f"{files[stem]} and {file} have one name but for the suffix; keep one of them")
        files[stem] = file
    if not any(part.masks for part in parts.values()):
        raise DataError(f"{root} holds {len(found.names)} images and no masks; {LAYOUT}")
    notes = [f"{beside} images lie in no folder of images or masks: left out"] if beside else []
    return _split(root, parts, notes, size, channels, seed)


def _split(
    root: Path, parts: dict[PartName | None, _Part], notes: list[str], size: int, channels: int, seed: int
) -> MaskedParts:
    held = next((name for name in HELD_OUT if name in parts and parts[name].masks), None)
    if held is not None and "train" in parts and parts["train"].masks:
        unused = [name or "no part" for name in parts if name not in ("train", held)]
        notes += [f"part {name}: left out" for name in unused]
        pairs = [_paired(root, parts[name]) for name in ("train", held)]
        pixels = _pixels(root, pairs[0][0], channels)
        train, test = (MaskedImages(*pair, size=size, pixels=pixels) for pair in pairs)
        return MaskedParts(train, test, notes)
    whole = [_paired(root, part) for part in parts.values() if part.masks]
    images, masks = ([path for pair in whole for path in pair[n]] for n in (0, 1))
    if len(images) < 2:
        raise DataError(f"{root} holds one image with a mask; two are the least, one to fit on and one to measure")
    order = np.random.default_rng(seed).permutation(len(images))
    out, kept = (np.sort(part) for part in np.split(order, [max(1, round(HOLDOUT * len(images)))]))
    notes.append(f"no held-out part: {len(out)} of {len(images)} images are held out, with seed {seed}")
    chosen = [([images[i] for i in rows], [masks[i] for i in rows]) for rows in (kept, out)]
    pixels = _pixels(root, images, channels)
    train, test = (MaskedImages(*pair, size=size, pixels=pixels) for pair in chosen)
    return MaskedParts(train, test, notes)


def _pixels(root: Path, images: list[str], channels: int) -> Pixels:
    """Return how images are read for a network that takes so many channels."""
    found, _ = probe(lambda index: Path(images[index]).read_bytes(), len(images), str(root), DataOptions(), Decisions())
    if found.channels != channels and (found.channels, channels) != (1, 3):
        raise DataError(f"{root} has images of {found.channels} channels, and the network takes {channels}")
    return replace(found, channels=channels)


def _paired(root: Path, part: _Part) -> tuple[list[str], list[str]]:
    """Return images and masks in one order."""
    for files, others, kind, other in (
        (part.images, part.masks, "images", "mask"),
        (part.masks, part.images, "masks", "image"),
    ):
        if alone := sorted(files.keys() - others.keys()):
            named = ", ".join(files[stem] for stem in alone[:SHOWN]) + (", ..." if len(alone) > SHOWN else "")
            raise DataError(
                f"{len(alone)} of {len(files)} {kind} in {root} have no {other} of the same name: {named}; add what is "
                "missing, or move them out of the folder"
            )
    stems = sorted(part.images)
    suffixes = Counter(os.path.splitext(part.masks[stem])[1].lower() for stem in stems)
    if lossy := sorted(LOSSY & suffixes.keys()):
        raise DataError(
            f"{suffixes[lossy[0]]} masks in {root} are {lossy[0]}, which changes classes; give them as .png"
        )
    return [part.images[stem] for stem in stems], [part.masks[stem] for stem in stems]


def _read_mask(path: str) -> NDArray[np.uint8]:
    """Return classes, uint8 [height, width]; of a palette the indices."""
    try:
        with Image.open(path) as image:
            mode = image.mode
            values = np.asarray(image) if mode in GRAY else None
    except Exception as error:  # Pillow raises nearly anything for a broken file
        raise DataError(f"{path} cannot be read as a mask ({' '.join(str(error).split())}); give a .png") from error
    if values is None:
        raise DataError(
            f"{path} is a picture in {mode} without a palette, whose colors are no classes; give masks of one "
            "channel of class indices, or a palette: 0 to 254, and 255 where there is no class"
        )
    if values.max(initial=0) > 255 or values.min(initial=0) < 0:
        raise DataError(
            f"{path} holds numbers from {int(values.min())} to {int(values.max())}; classes are numbered 0 to 254, and "
            "255 is none"
        )
    return values.astype(np.uint8)
