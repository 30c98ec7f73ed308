"""Arrays in memory become a `Source`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.data.arrays.labels import stratified_holdout
from ssl_registry.data.arrays.shapes import arrange
from ssl_registry.data.arrays.targets import Part, check_labels, read_targets
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.decode import resize
from ssl_registry.data.options import DataOptions
from ssl_registry.data.samples import Samples
from ssl_registry.data.source import Modality, Source
from ssl_registry.data.statistics import channel_statistics, standardized
from ssl_registry.errors import DataError
from ssl_registry.views.columns import TableColumns

__all__ = ["Part", "choose_held_out", "source_in_memory"]


def source_in_memory(
    name: str,
    train: Part,
    test: Part | None,
    *,
    options: DataOptions,
    class_names: Sequence[str] | None = None,
    told: Decisions | None = None,
    columns: TableColumns | None = None,
) -> Source:
    """Arrange, check, split and standardize.

    Args:
        name: of the source.
        train, test: the parts. Without a test part and with labels, a share of each class is held out.
        options: how they are read.
        class_names: names by label, where the data have them.
        told: what was decided before, which the source's line tells too.
        columns: how the features came from columns of a table.

    Raises:
        DataError: naming the place, and what was expected there.
    """
    told = told or Decisions()
    chosen, x, notes = arrange(train.x, modality=options.modality, where=train.x_name)
    check_labels(train)
    x_test: Tensor | None = None
    if test is not None:
        # Not inferred again: that would hide a test part of another modality.
        _, x_test, _ = arrange(test.x, modality=chosen, where=test.x_name)
        check_labels(test)
        if x_test.shape[1:] != x.shape[1:]:
            raise DataError(
                f"{test.x_name} has samples of shape {tuple(x_test.shape[1:])}, {train.x_name} of "
                f"{tuple(x.shape[1:])}; expected the same"
            )
    train, test, targets = read_targets(train, test, class_names, told)
    if test is None:
        x_test = None
    y, y_test, of_train, of_test = targets.train, targets.test, train.origin, test.origin if test else None
    if test is None and y is not None:
        kept, held = stratified_holdout(targets.strata(), options.holdout, options.seed)
        if len(held):
            told.hold_out(options.seed)
            if of_train is not None:
                of_train, of_test = of_train.chosen(kept), of_train.chosen(held)
            x, x_test, y, y_test = x[kept], x[held], y[kept], y[held]
    told.add_part("train", len(x), files=train.files, unlabeled=targets.unlabeled)
    if x_test is not None:
        told.add_part("test", len(x_test), files=test.files if test else 0)
    told.label = (told.label or train.y_name.rpartition(": ")[2] or train.y_name or "y") if y is not None else None
    told.classes, told.task = targets.classes, targets.task
    x, x_test, mean, std = _finish(chosen, x, x_test, options, notes)
    return Source(
        name=name,
        modality=chosen,
        input_shape=tuple(x.shape[1:]),
        train=Samples(x, y, of_train),
        test=None if x_test is None else Samples(x_test, y_test, of_test),
        classes=targets.classes,
        task=targets.task,
        mean=mean,
        std=std,
        notes=tuple(notes),
        decided=told.line(),
        columns=columns,
    )


def choose_held_out(part: Part, options: DataOptions, class_names: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return which samples `source_in_memory` would hold out of a train part without a test part: numbers, ascending.

    For what must be fitted on the samples that stay.
    """
    check_labels(part)
    _, _, targets = read_targets(part, None, class_names, Decisions())
    if targets.train is None:
        return np.empty(0, np.int64)
    return stratified_holdout(targets.strata(), options.holdout, options.seed)[1]


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
