"""Samples and their labels as they were read, and the targets that training and evaluation take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.data.arrays.labels import UNLABELED, encode_labels, known_labels
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.samples import Origin
from ssl_registry.data.source import Task
from ssl_registry.errors import DataError

__all__ = ["Part", "Targets", "check_labels", "read_targets"]


@dataclass(frozen=True)
class Part:
    """Samples and labels as they were read, with the name of the place of each for messages.

    Args:
        x: [N, ...].
        y: one label a sample, or None.
        x_name, y_name: their places.
        known: which samples have a label, [N]; default: those whose label is not missing (see `known_labels`).
        origin: file and row of each sample, for `ssl_registry.embed`.
        recording: of windows, the number of the recording that each was cut from, [N]: all windows of one stay in one
            part.
    """

    x: NDArray[Any] | list[NDArray[Any]]  # a list of recordings of several lengths, until windows are cut
    y: NDArray[Any] | None
    x_name: str
    y_name: str = ""
    known: NDArray[np.bool_] | None = None
    origin: Origin | None = None
    recording: NDArray[np.int64] | None = None

    def chosen(self, rows: NDArray[Any]) -> Part:
        """Return some of the samples, by number or mask."""
        places = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            x=[self.x[place] for place in places] if isinstance(self.x, list) else self.x[rows],
            y=None if self.y is None else self.y[rows],
            known=None if self.known is None else self.known[rows],
            origin=None if self.origin is None else self.origin.chosen(rows),
            recording=None if self.recording is None else self.recording[rows],
        )

    @property
    def files(self) -> int:
        """From how many files it was read; 0 where that is not known."""
        return 0 if self.origin is None else len(np.unique(self.origin.file))


@dataclass(frozen=True)
class Targets:
    """Targets of both parts, as training and evaluation take them; -1 or NaN for a sample that has none."""

    train: Tensor | None = None
    test: Tensor | None = None
    task: Task = "classification"
    classes: tuple[str, ...] | None = None
    unlabeled: int = field(default=0)  # in the train part
    unlabeled_test: int = field(default=0)

    def strata(self) -> NDArray[np.int64]:
        """Return what the held-out part is stratified by."""
        assert self.train is not None
        if self.task == "classification":
            return self.train.numpy()
        missing = self.train.isnan().reshape(len(self.train), -1).any(1) if self.task == "regression" else None
        return np.zeros(len(self.train), np.int64) if missing is None else -missing.numpy().astype(np.int64)


def check_labels(part: Part) -> None:
    """Refuse labels that are not one a sample.

    Raises:
        DataError: naming both places.
    """
    if part.y is not None and (part.y.ndim == 0 or len(part.y) != len(part.x)):
        raise DataError(
            f"{part.y_name} has shape {part.y.shape}, but {part.x_name} holds {len(part.x)} samples; "
            "expected one label a sample"
        )


def read_targets(
    train: Part, test: Part | None, names: Sequence[str] | None, told: Decisions
) -> tuple[Part, Part | None, Targets]:
    """Return the parts that stay, and their targets.

    A test part none of whose samples has a label is left out.

    Args:
        train, test: the parts.
        names: of the classes by number, where the data have them.
        told: takes what is left out.

    Raises:
        DataError: if one part alone has labels, or they are neither classes nor numbers.
    """
    train, test = _with_known(train, test, named=names is not None)
    if train.y is None and (test is None or test.y is None):
        return train, test, Targets()
    if test is not None and (train.y is None or test.y is None):
        have, lack = (train, test) if train.y is not None else (test, train)
        raise DataError(
            f"{have.x_name} has labels ({have.y_name}) and {lack.x_name} has none; expected both or neither: "
            "add the missing labels, or leave the others out"
        )
    assert train.known is not None
    if not train.known.any():
        told.no_label = f"{train.y_name.rpartition(': ')[2]!r} is empty in the train part"
        return train, test, Targets()
    if test is not None and test.known is not None and not test.known.any():
        told.left_out.append((test.x_name, f"a test part of {len(test.x)} samples without labels"))
        test = None
    parts = [part for part in (train, test) if part is not None]
    known = [part.known for part in parts if part.known is not None]
    found = [part.y[mask] for part, mask in zip(parts, known, strict=True) if part.y is not None]
    where = " and ".join(part.y_name for part in parts)
    task, classes = _task(found), None
    if task == "classification":
        codes, classes = encode_labels(found, where=where, names=names)
        values = [torch.from_numpy(np.ascontiguousarray(part)) for part in codes]
    else:
        # Numbers in float64, which no table of features has, so that they are never taken for a view.
        values = [torch.as_tensor(part, dtype=torch.float64 if task == "regression" else torch.int64) for part in found]
        if len({part.shape[1:] for part in values}) > 1:
            raise DataError(f"{train.x_name} and {parts[1].x_name} need targets of one shape, or neither any")
    whole = [_spread(value, mask) for value, mask in zip(values, known, strict=True)]
    without = [int((~mask).sum()) for mask in known]
    return train, test, Targets(whole[0], whole[1] if test else None, task, classes, without[0], sum(without[1:]))


def _with_known(train: Part, test: Part | None, *, named: bool) -> tuple[Part, Part | None]:
    """Tell which samples of each part have a label, by the labels of both."""
    parts = [part for part in (train, test) if part is not None]
    masks = iter(known_labels([part.y for part in parts if part.y is not None], named=named))
    marked = [
        part if part.y is None else replace(part, known=next(masks) & (True if part.known is None else part.known))
        for part in parts
    ]
    return marked[0], marked[1] if len(marked) > 1 else None


def _spread(values: Tensor, known: NDArray[np.bool_]) -> Tensor:
    """Return targets of all samples from those of the labelled ones."""
    if known.all():
        return values
    whole = torch.full((len(known), *values.shape[1:]), float("nan") if values.is_floating_point() else UNLABELED)
    whole = whole.to(values.dtype)
    whole[torch.from_numpy(known)] = values
    return whole


def _task(parts: Sequence[NDArray[Any]]) -> Task:
    """Tell whether targets are numbers (floats with fractions) or several labels at once, rather than classes."""
    if any(part.ndim not in (1, 2) or not part.size for part in parts):
        return "classification"
    if all(part.dtype.kind == "f" and np.isfinite(part).all() for part in parts):
        return "regression" if any((part != np.round(part)).any() for part in parts) else "classification"
    several = all(part.ndim == 2 and part.shape[1] > 1 and np.isin(part, (0, 1)).all() for part in parts)
    # Rows with one 1 each are classes in another form, which asks for a word from the user.
    return "multilabel" if several and any((part.sum(1) != 1).any() for part in parts) else "classification"
