"""Arrays in memory become a `Source`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.data.arrays.labels import encode_labels, stratified_holdout
from ssl_registry.data.arrays.shapes import arrange
from ssl_registry.data.images.decode import resize
from ssl_registry.data.options import DataOptions
from ssl_registry.data.samples import Samples
from ssl_registry.data.source import Modality, Source, Task
from ssl_registry.data.statistics import channel_statistics, standardized
from ssl_registry.errors import DataError

__all__ = ["Part", "source_in_memory"]


@dataclass(frozen=True)
class Part:
    """Samples and labels as they were read, with the name of the place of each for messages."""

    x: NDArray[Any]
    y: NDArray[Any] | None
    x_name: str
    y_name: str = ""


def source_in_memory(
    name: str,
    train: Part,
    test: Part | None,
    *,
    options: DataOptions,
    class_names: Sequence[str] | None = None,
) -> Source:
    """Arrange, check, split and standardize.

    Args:
        name: of the source.
        train, test: the parts. Without a test part and with labels, a share of each class is held out.
        options: how they are read.
        class_names: names by label, where the data have them.

    Raises:
        DataError: naming the place, and what was expected there.
    """
    chosen, x, notes = arrange(train.x, modality=options.modality, where=train.x_name)
    _check_labels(train)
    x_test: Tensor | None = None
    if test is not None:
        # Not inferred again: that would hide a test part of another modality.
        _, x_test, _ = arrange(test.x, modality=chosen, where=test.x_name)
        _check_labels(test)
        if x_test.shape[1:] != x.shape[1:]:
            raise DataError(
                f"{test.x_name} has samples of shape {tuple(x_test.shape[1:])}, {train.x_name} of "
                f"{tuple(x.shape[1:])}; expected the same"
            )
    task = _task(train, test)
    y, y_test, classes = _labels(train, test, class_names) if task == "classification" else _targets(train, test, task)
    if test is None and y is not None:
        strata = y.numpy() if task == "classification" else np.zeros(len(y), np.int64)
        kept, held = stratified_holdout(strata, options.holdout, options.seed)
        if len(held):
            how = ", stratified," if task == "classification" else ""
            notes.append(f"no test part: {len(held)} of {len(y)} samples held out{how} with seed {options.seed}")
            x, x_test, y, y_test = x[kept], x[held], y[kept], y[held]
    x, x_test, mean, std = _finish(chosen, x, x_test, options, notes)
    return Source(
        name=name,
        modality=chosen,
        input_shape=tuple(x.shape[1:]),
        train=Samples(x, y),
        test=None if x_test is None else Samples(x_test, y_test),
        classes=classes,
        task=task,
        mean=mean,
        std=std,
        notes=tuple(notes),
    )


def _check_labels(part: Part) -> None:
    if part.y is not None and (part.y.ndim == 0 or len(part.y) != len(part.x)):
        raise DataError(
            f"{part.y_name} has shape {part.y.shape}, but {part.x_name} holds {len(part.x)} samples; "
            "expected one label a sample"
        )


def _labels(
    train: Part, test: Part | None, names: Sequence[str] | None
) -> tuple[Tensor | None, Tensor | None, tuple[str, ...] | None]:
    parts = [part for part in (train, test) if part is not None]
    labels = [part.y for part in parts if part.y is not None]
    if not labels:
        return None, None, None
    if len(labels) < len(parts):
        have, lack = (train, parts[1]) if train.y is not None else (parts[1], train)
        raise DataError(
            f"{have.x_name} has labels ({have.y_name}) and {lack.x_name} has none; expected both or neither: "
            "add the missing labels, or leave the others out"
        )
    codes, classes = encode_labels(labels, where=" and ".join(part.y_name for part in parts), names=names)
    first, *rest = (torch.from_numpy(np.ascontiguousarray(part)) for part in codes)
    return first, rest[0] if rest else None, classes


def _task(train: Part, test: Part | None) -> Task:
    """Tell whether targets are numbers (floats with fractions) or several labels at once, rather than classes."""
    parts = [part.y for part in (train, test) if part is not None and part.y is not None]
    if not parts or any(part.ndim not in (1, 2) or not part.size for part in parts):
        return "classification"
    if all(part.dtype.kind == "f" and np.isfinite(part).all() for part in parts):
        return "regression" if any((part != np.round(part)).any() for part in parts) else "classification"
    several = all(part.ndim == 2 and part.shape[1] > 1 and np.isin(part, (0, 1)).all() for part in parts)
    # Rows with one 1 each are classes in another form, which asks for a word from the user.
    return "multilabel" if several and any((part.sum(1) != 1).any() for part in parts) else "classification"


def _targets(train: Part, test: Part | None, task: Task) -> tuple[Tensor, Tensor | None, None]:
    """Return numbers in float64, which no table of features has, so that they are never taken for a view."""
    dtype = torch.float64 if task == "regression" else torch.int64
    found = [torch.as_tensor(part.y, dtype=dtype) for part in (train, test) if part is not None and part.y is not None]
    if test is not None and (len(found) == 1 or found[0].shape[1:] != found[1].shape[1:]):
        raise DataError(f"{train.x_name} and {test.x_name} need targets of one shape, or neither any")
    return found[0], found[1] if len(found) > 1 else None, None


def _finish(
    modality: Modality,
    x: Tensor,
    x_test: Tensor | None,
    options: DataOptions,
    notes: list[str],
) -> tuple[Tensor, Tensor | None, tuple[float, ...], tuple[float, ...]]:
    """Resize images and measure them; standardize the rest."""
    image_size, standardize = options.image_size, options.standardize
    if modality == "image":
        if image_size is not None:
            x, x_test = resize(x, image_size), None if x_test is None else resize(x_test, image_size)
        mean, std = channel_statistics(x, scale=255.0 if x.dtype == torch.uint8 else 1.0)
        return x, x_test, mean, std
    if image_size is not None:
        notes.append(f"image_size={image_size} has no meaning for a {modality}")
    if isinstance(standardize, bool):
        mean, std = channel_statistics(x) if standardize else ((0.0,) * x.shape[1], (1.0,) * x.shape[1])
    else:
        mean, std = standardize
    if len(mean) != x.shape[1]:
        raise DataError(f"the data have {x.shape[1]} channels or features; expected {len(mean)}, as in training")
    return standardized(x, mean, std), None if x_test is None else standardized(x_test, mean, std), mean, std
