"""Data sets of torchvision by name, from the disk."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ssl_registry.data.arrays.memory import Part, source_in_memory
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.data.sources.torchvision_files import class_names, decoded, targets_of
from ssl_registry.data.sources.torchvision_names import set_names
from ssl_registry.errors import DataError, did_you_mean

__all__ = ["torchvision_set"]

TRAIN_PARTS = ("train", "train-standard")  # the latter is Places365's
TEST_PARTS = ("test", "validation", "valid", "val")
EXTRA: dict[str, dict[str, Any]] = {"EMNIST": {"split": "balanced"}}


def torchvision_set(name: str, options: DataOptions) -> Source:
    """Open a data set of torchvision that lies on the disk.

    Sets that torchvision holds in memory (CIFAR, MNIST and their like) stay there as uint8, in their own size
    unless ``image_size`` is given. Others are decoded when asked for, at 224 pixels unless it is given.

    Args:
        name: of its class, such as ``CIFAR10``.
        options: how it is read; ``data_root`` is the folder that torchvision calls root.

    Raises:
        DataError: if there is no such set, it is not on the disk, or its samples are not images.
    """
    from torchvision import datasets

    if name not in set_names():
        near = did_you_mean(name, set_names())
        raise DataError(f"torchvision has no data set {name!r}.{near} It has: {', '.join(set_names())}")
    cls = getattr(datasets, name)
    train, test = _parts(name, cls, (options.data_root or Path("data")).expanduser())
    if _in_memory(train) and (test is None or _in_memory(test)):
        return source_in_memory(
            name,
            _as_part(train, f"{name} (train)"),
            None if test is None else _as_part(test, f"{name} (test)"),
            options=options.model_copy(update={"modality": "image"}),
            class_names=class_names(train),
        )
    return decoded(name, train, test, options)


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
    train, test = (_first_split(name, cls, base, key, splits) for splits in (TRAIN_PARTS, TEST_PARTS))
    if train is None:
        raise DataError(f"{name} has no part called {' or '.join(TRAIN_PARTS)}; open it yourself and build a Source")
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


def _in_memory(part: Any) -> bool:
    data = getattr(part, "data", None)
    if not isinstance(data, np.ndarray | Tensor) or len(data) != len(part):
        return False
    return str(data.dtype).endswith("uint8") and data.ndim in (3, 4)


def _as_part(part: Any, name: str) -> Part:
    return Part(np.asarray(part.data), targets_of(part), name, f"{name} labels")
