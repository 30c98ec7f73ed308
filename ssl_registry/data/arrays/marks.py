"""A column or key that tells the part of each row: ``is_test`` by 0 and 1, ``split`` by words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.parts import PartName, folder_part

__all__ = ["parts_by_mark", "parts_by_word"]

TRUE, FALSE = {"1", "1.0", "true", "t", "yes", "y"}, {"0", "0.0", "false", "f", "no", "n"}


def parts_by_mark(values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return which rows are marked as test; None if the values are no marks.

    >>> parts_by_mark(np.array(["True", "no", "1"])).tolist(), parts_by_mark(np.array([0, 2])) is None
    ([True, False, True], True)
    """
    if values.ndim != 1:
        return None
    found, places = np.unique(np.array([str(value).strip().lower() for value in values.tolist()]), return_inverse=True)
    if not set(found.tolist()) <= TRUE | FALSE:
        return None
    return np.array([word in TRUE for word in found.tolist()], bool)[places]


def parts_by_word(values: NDArray[Any]) -> NDArray[np.str_] | None:
    """Return the part of each row; None unless all values are words for parts, and a train part is among them.

    >>> parts_by_word(np.array(["Train", "val", "train"])).tolist()
    ['train', 'validation', 'train']
    """
    words, places = np.unique(np.array([str(value) for value in values.tolist()]), return_inverse=True)
    named: list[PartName | None] = [folder_part(word) for word in words.tolist()]
    if "train" not in named or None in named:
        return None
    return np.array([str(name) for name in named])[places]
