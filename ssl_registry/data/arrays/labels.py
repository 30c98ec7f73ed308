"""Classes: labels of any type become 0 to K-1, and a share of each class is held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.errors import DataError

__all__ = ["encode_labels", "held_out_note", "stratified_holdout"]

Codes = NDArray[np.int64]


def encode_labels(
    parts: Sequence[NDArray[Any]], *, where: str, names: Sequence[str] | None = None
) -> tuple[list[Codes], tuple[str, ...]]:
    """Give every class a number from 0, the same in all parts.

    Args:
        parts: one label array a part (train, test), each [N] or [N, 1]: whole numbers, booleans or text.
        where: file and key, for messages.
        names: the classes' names by number, where the data have them; then labels must be these numbers.

    Returns:
        The parts as numbers, and the names of the classes in that order.

    Raises:
        DataError: if the labels are not classes, or do not fit ``names``.

    Example:
        >>> codes, classes = encode_labels([np.array(["dog", "cat"])], where="pets.npz: y")
        >>> codes[0].tolist(), classes
        ([1, 0], ('cat', 'dog'))
    """
    flat = [_check(part, where) for part in parts]
    if names is None:
        found, numbers = np.unique(np.concatenate(flat), return_inverse=True)
        bounds = np.cumsum([len(part) for part in flat])[:-1]
        return [np.asarray(part, np.int64) for part in np.split(numbers, bounds)], tuple(str(c) for c in found.tolist())
    for part in flat:
        if part.dtype.kind not in "iub" or part.min() < 0 or part.max() >= len(names):
            raise DataError(
                f"{where}: with {len(names)} class names the labels must be whole numbers from 0 to "
                f"{len(names) - 1}; "
                f"they are {part.dtype} from {part.min()} to {part.max()}"
            )
    return [part.astype(np.int64) for part in flat], tuple(str(name) for name in names)


def _check(labels: NDArray[Any], where: str) -> NDArray[Any]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; take .argmax(1) of one-hot labels" if labels.ndim == 2 else ""
        raise DataError(f"{where} has shape {labels.shape}; expected one label a sample, [N]{hint}")
    if not len(labels):
        raise DataError(f"{where} is empty; expected one label a sample")
    if labels.dtype.kind == "f":
        # A table saved as one float array carries its classes as 0.0, 1.0, ...
        if not np.array_equal(labels, np.round(labels)):  # NaN is unequal to itself, so it ends here too
            raise DataError(f"{where} holds fractions or NaN; expected classes: whole numbers or text")
        return labels.astype(np.int64)
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels.dtype.kind not in "iubU":
        raise DataError(f"{where} has dtype {labels.dtype}; expected classes: whole numbers or text")
    return labels


def stratified_holdout(labels: Codes, share: float, seed: int) -> tuple[Codes, Codes]:
    """Choose a share of each class as the test part.

    A class of two or more keeps at least one sample on each side; a class of one stays in the train part.

    Args:
        labels: [N], whole numbers.
        share: between 0 and 1, 1 excluded; 0 holds nothing out.
        seed: of the choice.

    Returns:
        Indices of the train and of the test part, each in ascending order.

    Example:
        >>> train, test = stratified_holdout(np.array([0] * 8 + [1] * 4), 0.25, seed=0)
        >>> np.bincount(np.array([0] * 8 + [1] * 4)[test]).tolist()
        [2, 1]
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels) if share else []:
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            count = min(max(round(share * len(members)), 1), len(members) - 1)
            held[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def held_out_note(held: int, count: int, seed: int) -> str:
    """Tell in words that a share of the images was held out as the test part."""
    return f"no test part: {held} of {count} images held out, stratified, with seed {seed}"
