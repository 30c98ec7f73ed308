"""Data sets of torchvision that lie in image files, and what torchvision's attributes tell of them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ssl_registry.data.arrays.labels import stratified_holdout
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.decode import GRAY_STATISTICS, RGB_STATISTICS, to_tensor
from ssl_registry.data.images.image_files import ImageFiles
from ssl_registry.data.images.inspect_images import probe
from ssl_registry.data.images.pixels import GRAY_MODES
from ssl_registry.data.options import DataOptions
from ssl_registry.data.sample_set import SampleSet
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError

__all__ = ["class_names", "decoded", "targets_of"]

# What sets call their lists of paths, or of pairs of a path and a class.
LISTS = ("samples", "_samples", "imgs", "_image_files", "_images", "images")
TARGETS = ("targets", "labels", "_labels", "y")


def decoded(name: str, train: Any, test: Any | None, options: DataOptions) -> Source:
    """Return the source of a set whose images are decoded when they are asked for.

    Where the set tells its files they are read as those of a folder are; otherwise torchvision decodes.

    Args:
        name: of the set.
        train, test: its parts, of torchvision's class; no test part is held out from the other.
        options: how they are read; ``image_size`` is the side of the centred square.

    Raises:
        DataError: if its samples are no images.
    """
    image_size = options.file_size
    targets, names = targets_of(train), class_names(train)
    classes: tuple[str, ...] | None = None
    if targets is not None and targets.min() >= 0:
        classes = tuple(names or (str(label) for label in range(int(targets.max()) + 1)))
    notes = [] if classes else ["its targets are not one class a sample: used without labels"]
    told = Decisions(label="targets" if classes else None, classes=classes)
    parts = [_Part(train), *([] if test is None else [_Part(test)])]
    is_held_out = False
    if test is None and classes is not None and targets is not None:
        kept, held = stratified_holdout(targets.astype(np.int64), options.holdout, options.seed)
        if len(held):
            told.hold_out(options.seed)
            parts, is_held_out = [_Part(train, kept), _Part(train, held)], True
    for part_name, part in zip(("train", "test"), parts, strict=False):
        told.add_part(part_name, len(part.rows))
    sets: list[SampleSet]
    if all(part.files for part in parts):
        files = parts[0].files
        pixels, (mean, std) = probe(lambda index: files[index].read_bytes(), len(files), name, options, told)
        channels = pixels.channels
        sets = [
            ImageFiles(
                part.files,
                part.labels if classes else None,
                size=image_size,
                pixels=pixels,
                rows=part.rows if is_held_out else None,
            )
            for part in parts
        ]
    else:
        channels = _channels(name, train[0])
        mean, std = RGB_STATISTICS if channels == 3 else GRAY_STATISTICS
        sets = [_Decoded(part, size=image_size, channels=channels, labeled=classes is not None) for part in parts]
    shape = (channels, image_size, image_size)
    return Source(
        name,
        "image",
        shape,
        sets[0],
        sets[1] if len(sets) > 1 else None,
        classes,
        mean,
        std,
        notes=tuple(notes),
        decided=told.line(),
    )


def targets_of(part: Any) -> NDArray[Any] | None:
    """Return the labels of all samples, where the set has a list of them."""
    for key in TARGETS:
        found = getattr(part, key, None)
        if isinstance(found, list | tuple | np.ndarray | Tensor) and len(found) == len(part):
            array = np.asarray(found)
            if array.ndim == 1 and array.dtype.kind in "iub":
                return array
    pairs = [entry[1] for entry in _listed(part) if isinstance(entry, tuple)]
    return np.asarray(pairs) if pairs and all(isinstance(label, int) for label in pairs) else None


def class_names(part: Any) -> list[str] | None:
    """Return the names of the classes, where they fit the labels."""
    names = getattr(part, "classes", None)
    targets = targets_of(part)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names) or targets is None:
        return None
    return list(names) if targets.min() >= 0 and targets.max() < len(names) else None


class _Part:
    """Some or all samples of a set of torchvision.

    Args:
        base: the set.
        rows: which of its samples; None for all.
    """

    def __init__(self, base: Any, rows: NDArray[np.int64] | None = None) -> None:
        self.base = base
        self.rows = np.arange(len(base)) if rows is None else rows

    @cached_property  # a million paths are not made twice
    def files(self) -> list[Path]:
        """The file of every sample; nothing where the set does not tell them."""
        listed = _listed(self.base)
        return [_path(listed[row]) for row in self.rows.tolist()] if listed else []

    @property
    def labels(self) -> list[int] | None:
        """The class of every sample."""
        targets = targets_of(self.base)
        return None if targets is None else [int(label) for label in targets[self.rows]]


def _listed(base: Any) -> list[Any]:
    """Return the set's own list of paths, or of pairs of a path and a class; an empty one where it has none."""
    for key in LISTS:
        found = getattr(base, key, None)
        if isinstance(found, list) and found and len(found) == len(base):
            try:
                if _path(found[0]).is_file():
                    return found
            except TypeError:  # a list of something else
                continue
    return []


def _path(entry: Any) -> Path:
    return Path(entry[0] if isinstance(entry, tuple) else entry)


def _channels(name: str, sample: Any) -> int:
    if not (isinstance(sample, tuple) and isinstance(sample[0], Image.Image)):
        raise DataError(f"{name} holds {type(sample[0] if isinstance(sample, tuple) else sample).__name__}, not images")
    with sample[0] as image:  # its file is open until its pixels are asked for
        return 1 if image.mode in GRAY_MODES else 3


class _Decoded(SampleSet):
    """Samples that torchvision decodes, as uint8 [channels, size, size]."""

    decodes = True

    def __init__(self, part: _Part, *, size: int, channels: int, labeled: bool) -> None:
        self.part = part
        self.size = size
        self.channels = channels
        self.labeled = labeled

    def __len__(self) -> int:
        return len(self.part.rows)

    def __getitem__(self, index: int) -> Any:
        sample = self.part.base[int(self.part.rows[index])]
        image = to_tensor(sample[0], size=self.size, channels=self.channels)
        return (image, torch.tensor(int(sample[1]))) if self.labeled else image
