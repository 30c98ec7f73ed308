"""Classes: labels of any type become 0 to K-1, and a share of each class is held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.errors import DataError

__all__ = ["UNLABELED", "as_text", "encode_labels", "known_labels", "stratified_holdout"]

UNLABELED = -1  # the label of a sample that has none; as torchvision's STL10 and Hugging Face data sets write it
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
        return as_text(labels, where)
    if labels.dtype.kind not in "iubU":
        raise DataError(f"{where} has dtype {labels.dtype}; expected classes: whole numbers or text")
    return labels


def known_labels(parts: Sequence[NDArray[Any]], *, named: bool = False) -> list[NDArray[np.bool_]]:
    """Tell which samples have a label.

    NaN, empty text and, under some conditions, -1 are none. -1 is none where classes have names, which their numbers
    count from 0, where nothing else is there, and beside three or more classes counted from 0; in ``{-1, 1}`` and
    ``{-1, 0, 1}``, as support vector machines and sentiments have them, it is a class.

    Args:
        parts: labels of each part, [N] or [N, L].
        named: whether classes have names.

    Returns:
        A mask [N] for each part.

    Example:
        >>> [mask.tolist() for mask in known_labels([np.array([0, 1, 2, -1]), np.array([2])])]
        [[True, True, True, False], [True]]
        >>> known_labels([np.array([1, -1])])[0].tolist()
        [True, True]
    """
    masks = []
    for part in parts:
        if part.dtype.kind == "f":
            masks.append(~np.isnan(part).reshape(len(part), -1).any(1))
        elif part.dtype.kind in "US":
            masks.append((np.char.str_len(np.char.strip(part)) > 0).reshape(len(part), -1).all(1))
        else:
            masks.append(np.ones(len(part), bool))
    # One value a sample: -1 among several is an output of its own.
    flat = [part.reshape(-1) for part in parts if part.size == len(part) and part.dtype.kind in "if"]
    if len(flat) == len(parts):
        found = np.unique(np.concatenate(flat)) if flat else np.empty(0)
        others = found[(found != UNLABELED) & ~np.isnan(found.astype(np.float64))]
        counted = len(others) > 2 and others[0] == 0 and bool((others == np.round(others)).all())
        if named or not len(others) or counted:
            masks = [mask & (part != UNLABELED) for mask, part in zip(masks, flat, strict=True)]
    return masks


def as_text(words: NDArray[Any], where: str) -> NDArray[np.str_]:
    """Return an array of words as text, of bytes by their UTF-8.

    Raises:
        DataError: if bytes are no UTF-8.

    Example:
        >>> as_text(np.array([b"cat"]), "f: classes").tolist()
        ['cat']
    """
    try:
        return np.char.decode(words, "utf-8") if words.dtype.kind == "S" else words.astype(str)
    except UnicodeDecodeError as error:
        raise DataError(f"{where} holds bytes that are no text in UTF-8 ({error}); write it as text") from error


def stratified_holdout(labels: Codes, share: float, seed: int) -> tuple[Codes, Codes]:
    """Choose a share of each class as the test part.

    A class of two or more keeps at least one sample on each side; a class of one stays in the train part, and so does
    what has no label.

    Args:
        labels: [N], whole numbers; -1 for none.
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
    for label in np.unique(labels[labels != UNLABELED]) if share else []:
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            count = min(max(round(share * len(members)), 1), len(members) - 1)
            held[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
