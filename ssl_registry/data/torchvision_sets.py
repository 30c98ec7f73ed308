"""Data sets of torchvision by name, from the disk."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ssl_registry.data.images import GREY_STATISTICS, RGB_STATISTICS, to_tensor
from ssl_registry.data.labels import stratified_holdout
from ssl_registry.data.memory import Part, source_in_memory
from ssl_registry.data.pixels import GREY_MODES
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError, did_you_mean

__all__ = ["set_names", "torchvision_set"]

# What a set calls its parts, in order of preference; a set without any of them is held out from.
TRAIN_SPLITS = ("train", "train-standard")
TEST_SPLITS = ("test", "val", "valid")
# Bases and stand-ins; for folders of images, give the folder.
NO_SETS = frozenset({"DatasetFolder", "ImageFolder", "VisionDataset", "FakeData"})
EXTRA: dict[str, dict[str, Any]] = {"EMNIST": {"split": "balanced"}}


def set_names() -> list[str]:
    """List the data sets that torchvision has."""
    from torchvision import datasets

    return sorted(
        name
        for name in datasets.__all__
        if name not in NO_SETS
        and inspect.isclass(found := getattr(datasets, name))
        and issubclass(found, datasets.VisionDataset)
    )


def torchvision_set(
    name: str, *, root: Path, image_size: int | None = None, holdout: float = 0.2, seed: int = 0
) -> Source:
    """Open a data set of torchvision that lies on the disk.

    Sets that torchvision holds in memory (CIFAR, MNIST and their like) stay there as uint8, in their own size
    unless ``image_size`` is given. Others are decoded when asked for, at 224 pixels unless it is given.

    Args:
        name: of its class, such as ``CIFAR10``.
        root: the folder that torchvision calls root.
        image_size, holdout, seed: see `open_source`.

    Raises:
        DataError: if there is no such set, it is not on the disk, or its samples are not images.
    """
    from torchvision import datasets

    if name not in set_names():
        near = did_you_mean(name, set_names())
        raise DataError(f"torchvision has no data set {name!r}.{near} It has: {', '.join(set_names())}")
    cls = getattr(datasets, name)
    train, test = _parts(name, cls, root)
    if _in_memory(train) and (test is None or _in_memory(test)):
        return source_in_memory(
            name,
            _as_part(train, f"{name} (train)"),
            None if test is None else _as_part(test, f"{name} (test)"),
            kind="image",
            class_names=_class_names(train),
            image_size=image_size,
            holdout=holdout,
            seed=seed,
        )
    return _decoded(name, train, test, image_size=image_size or 224, holdout=holdout, seed=seed)


def _parts(name: str, cls: Any, root: Path) -> tuple[Any, Any | None]:
    """Build the train part, and the test part where the set has one."""
    accepted = inspect.signature(cls).parameters
    base: dict[str, Any] = {"root": root, **EXTRA.get(name, {})}
    if "download" in accepted:
        base["download"] = False
    if "train" in accepted or name in EXTRA:
        return _build(name, cls, {**base, "train": True}), _build(name, cls, {**base, "train": False})
    key = next((key for key in ("split", "image_set") if key in accepted), None)
    if key is None:
        return _build(name, cls, base), None
    train, test = (_first_split(name, cls, base, key, splits) for splits in (TRAIN_SPLITS, TEST_SPLITS))
    if train is None:
        raise DataError(f"{name} has no part called {' or '.join(TRAIN_SPLITS)}; open it yourself and build a Source")
    return train, test


def _first_split(name: str, cls: Any, base: dict[str, Any], key: str, splits: tuple[str, ...]) -> Any | None:
    for split in splits:
        try:
            return _build(name, cls, {**base, key: split})
        except _NoSuchPart:
            continue
    return None


class _NoSuchPart(Exception):
    """The set has no part of this name."""


def _build(name: str, cls: Any, arguments: dict[str, Any]) -> Any:
    root = arguments["root"]
    try:
        return cls(**arguments)
    except ImportError as error:
        raise DataError(f"{name} needs a package that is not installed ({error}); install it with pip") from error
    except TypeError as error:
        raise DataError(
            f"{name} cannot be opened by name alone ({error}); open it yourself and build a Source"
        ) from error
    except Exception as error:  # a RuntimeError here, an OSError there; for broken files nearly anything
        if isinstance(error, ValueError) and "Unknown value" in str(error):
            raise _NoSuchPart from error
        raise DataError(
            f"{name} is not in {root.resolve()}, or not whole ({str(error).strip()}). Nothing is downloaded "
            "here: give data_root=... where it lies, or fetch it once with "
            f'python -c "import torchvision; torchvision.datasets.{name}({str(root)!r}, download=True)"'
        ) from error


def _targets(part: Any) -> np.ndarray[Any, np.dtype[Any]] | None:
    """Return the labels of all samples, where the set has a list of them."""
    for key in ("targets", "labels", "_labels", "y"):
        found = getattr(part, key, None)
        if isinstance(found, list | tuple | np.ndarray | Tensor) and len(found) == len(part):
            array = np.asarray(found)
            if array.ndim == 1 and array.dtype.kind in "iub":
                return array
    return None


def _class_names(part: Any) -> list[str] | None:
    names = getattr(part, "classes", None)
    targets = _targets(part)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names) or targets is None:
        return None
    return list(names) if targets.min() >= 0 and targets.max() < len(names) else None


def _in_memory(part: Any) -> bool:
    data = getattr(part, "data", None)
    if not isinstance(data, np.ndarray | Tensor) or len(data) != len(part):
        return False
    return str(data.dtype).endswith("uint8") and data.ndim in (3, 4)


def _as_part(part: Any, name: str) -> Part:
    return Part(np.asarray(part.data), _targets(part), name, f"{name} labels")


class _Decoded(Dataset[Any]):
    """A torchvision set whose samples become uint8 [channels, size, size]."""

    def __init__(self, base: Any, *, size: int, channels: int, labelled: bool) -> None:
        self.base = base
        self.size = size
        self.channels = channels
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> Any:
        sample = self.base[index]
        image = to_tensor(sample[0], size=self.size, channels=self.channels)
        return (image, torch.tensor(int(sample[1]))) if self.labelled else image


def _decoded(name: str, train: Any, test: Any | None, *, image_size: int, holdout: float, seed: int) -> Source:
    sample = train[0]
    if not (isinstance(sample, tuple) and isinstance(sample[0], Image.Image)):
        raise DataError(f"{name} holds {type(sample[0] if isinstance(sample, tuple) else sample).__name__}, not images")
    channels = 1 if sample[0].mode in GREY_MODES else 3
    targets, names = _targets(train), _class_names(train)
    classes: tuple[str, ...] | None = None
    if targets is not None and targets.min() >= 0:
        classes = tuple(names or (str(label) for label in range(int(targets.max()) + 1)))
    notes = [] if classes else ["its targets are not one class a sample: used without labels"]

    def dataset(part: Any) -> _Decoded:
        return _Decoded(part, size=image_size, channels=channels, labelled=classes is not None)

    parts: tuple[Dataset[Any], Dataset[Any] | None] = dataset(train), None if test is None else dataset(test)
    if test is None and classes is not None and targets is not None:
        kept, held = stratified_holdout(targets.astype(np.int64), holdout, seed)
        if len(held):
            notes.append(f"no test part: {len(held)} of {len(targets)} images held out, stratified, with seed {seed}")
            parts = Subset(parts[0], kept.tolist()), Subset(parts[0], held.tolist())
    mean, std = RGB_STATISTICS if channels == 3 else GREY_STATISTICS
    shape = (channels, image_size, image_size)
    return Source(name, "image", shape, parts[0], parts[1], classes, mean, std, notes=tuple(notes))
