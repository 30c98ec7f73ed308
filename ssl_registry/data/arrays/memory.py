"""Arrays in memory become a `Source`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.data.arrays.labels import UNLABELED, stratified_holdout
from ssl_registry.data.arrays.recordings import Windows, channels_first, cut_windows
from ssl_registry.data.arrays.shapes import arrange
from ssl_registry.data.arrays.targets import Part, check_labels, read_targets
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.decode import resize
from ssl_registry.data.options import DataOptions
from ssl_registry.data.samples import Samples
from ssl_registry.data.source import Modality, Source
from ssl_registry.data.statistics import channel_statistics, standardized
from ssl_registry.errors import ConfigError, DataError
from ssl_registry.views.columns import TableColumns

__all__ = ["Part", "choose_held_out", "part_of_windows", "source_in_memory"]


MOST_CHANNELS = 12  # an electrocardiogram has 12; a square array of more may be images


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
    check_labels(train)
    if test is not None:
        check_labels(test)
    train, test, cut_notes = _windows(train, test, options, told)
    modality = "signal" if train.recording is not None else options.modality
    chosen, x, notes = arrange(_array(train), modality=modality, where=train.x_name)
    notes = [*cut_notes, *notes]
    _tell_axes(chosen, x, told)
    x_test: Tensor | None = None
    if test is not None:
        # Not inferred again: that would hide a test part of another modality.
        _, x_test, _ = arrange(_array(test), modality=chosen, where=test.x_name)
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
        kept, held = _held_out(targets.strata(), train.recording, options)
        if len(held):
            told.hold_out(options.seed, recordings=train.recording is not None)
            if of_train is not None:
                of_train, of_test = of_train.chosen(kept), of_train.chosen(held)
            x, x_test, y, y_test = x[kept], x[held], y[kept], y[held]
    told.add_part("train", len(x), files=train.files, unlabeled=targets.unlabeled)
    if x_test is not None:
        told.add_part("test", len(x_test), files=test.files if test else 0, unlabeled=targets.unlabeled_test)
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


def _tell_axes(modality: Modality, x: Tensor, told: Decisions) -> None:
    """Tell which axis is which, where it may be another than the user means."""
    if modality == "signal" and x.shape[1] > x.shape[2]:
        told.more.append(f"read as {x.shape[1]:,} channels of {x.shape[2]:,} moments: the last axis is time")
    if modality == "signal" and x.shape[1] > MOST_CHANNELS and x.shape[1] == x.shape[2]:
        told.more.append(
            f"read as signals of {x.shape[1]:,} channels and {x.shape[2]:,} moments; grey images of floats are "
            "--modality image"
        )
    if modality == "image" and x.shape[1] not in (1, 3):
        told.more.append(f"read as images of {x.shape[1]} channels, {x.shape[2]} high and {x.shape[3]} wide")


def _array(part: Part) -> NDArray[Any]:
    assert not isinstance(part.x, list)  # windows were cut
    return part.x


def _windows(
    train: Part, test: Part | None, options: DataOptions, told: Decisions
) -> tuple[Part, Part | None, list[str]]:
    """Cut windows, where they are asked for or signals have several lengths; and return what is to be noted."""
    parts = [part for part in (train, test) if part is not None]
    ragged = any(isinstance(part.x, list) for part in parts)
    if train.recording is not None or not (ragged or options.window_length):
        return train, test, []
    if options.modality not in (None, "signal"):
        raise ConfigError(f"modality={options.modality!r}: only signals have several lengths or are cut into windows")
    notes: list[str] = []
    named = any(part.files < len(part.x) for part in parts)
    found = [
        _cut(part, options, told, notes, part_name=name, named=named)
        for part, name in zip(parts, ("", "test: "), strict=False)
    ]
    found = _numbered(found)
    return found[0], found[1] if test is not None else None, notes


def _numbered(parts: list[Part]) -> list[Part]:
    """Number windows in the order of their recordings in the file, over both parts."""
    origins = [part.origin for part in parts if part.origin is not None and part.origin.start is not None]
    if len(origins) < len(parts):
        return parts
    starts = np.concatenate([origin.start for origin in origins if origin.start is not None])
    order = np.lexsort((starts, np.concatenate([origin.row for origin in origins])))
    rows = np.empty_like(order)
    rows[order] = np.arange(len(order))
    ends = np.cumsum([len(origin.row) for origin in origins])[:-1]
    return [
        replace(part, origin=origin._replace(row=own))
        for part, origin, own in zip(parts, origins, np.split(rows, ends), strict=True)
    ]


def _cut(part: Part, options: DataOptions, told: Decisions, notes: list[str], *, part_name: str, named: bool) -> Part:
    if isinstance(part.x, list):
        if not part.x:
            raise DataError(f"{part.x_name} is empty; expected at least one recording")
        names = [f"{part.x_name}, sample {number}" for number in range(len(part.x))]
        recordings = channels_first(part.x, names, told)
    else:
        modality, x, found = arrange(part.x, modality=options.modality, where=part.x_name)
        if modality != "signal":
            raise ConfigError(
                f"--data.window cuts signals, and {part.x_name} of shape {part.x.shape} is read as a {modality}; leave "
                "it out, or say --modality signal"
            )
        notes += found
        recordings = list(x.numpy())
        names = [f"{part.x_name}, sample {number}" for number in range(len(recordings))]
    cut = cut_windows(recordings, names, options, told, part=part_name)
    return part_of_windows(part, cut, named=named)


def part_of_windows(recordings: Part, cut: Windows, *, named: bool = False) -> Part:
    """Return the windows of recordings, each with what its recording has.

    Args:
        recordings: that were cut.
        cut: into these.
        named: call each recording by its number, where a file holds several.
    """
    part = replace(recordings.chosen(cut.recording), x=cut.x, recording=cut.recording)
    if part.origin is None or not cut.are_cut:
        return part
    names = part.origin.row.astype(str) if named else None
    return replace(part, origin=part.origin._replace(start=cut.start, recording=names))


def _held_out(
    strata: NDArray[np.int64], recording: NDArray[np.int64] | None, options: DataOptions
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose what is held out of each class: samples, or whole recordings."""
    if recording is None:
        return stratified_holdout(strata, options.holdout, options.seed)
    _, number = np.unique(recording, return_inverse=True)
    of_recordings = np.full(int(number.max()) + 1, UNLABELED, np.int64)
    there = strata != UNLABELED
    pairs, counts = np.unique(np.stack([number[there], strata[there]]), axis=1, return_counts=True)
    rising = np.argsort(counts, kind="stable")
    of_recordings[pairs[0, rising]] = pairs[1, rising]  # the last stays: the class of most of its windows
    _, held = stratified_holdout(of_recordings, options.holdout, options.seed)
    mask = np.isin(number, held)
    return np.flatnonzero(~mask), np.flatnonzero(mask)


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
