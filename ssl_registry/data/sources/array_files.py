"""Array files: ``.npz``, ``.npy``, ``.pt`` and ``.csv``, read without unpickling anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_registry.data.arrays.memory import Part, source_in_memory
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.data.sources import ARRAY_SUFFIXES
from ssl_registry.data.sources.csv_files import read_csv
from ssl_registry.errors import DataError

__all__ = ["array_file"]

SAMPLES = ("X", "x", "data", "images", "features", "X_train", "x_train")
LABELS = ("y", "label", "labels", "target", "targets", "y_train")
TEST_SAMPLES = ("X_test", "x_test")
TEST_LABELS = ("y_test",)
IS_TEST = "is_test"
CLASSES = "classes"
KEYS = frozenset({*SAMPLES, *LABELS, *TEST_SAMPLES, *TEST_LABELS, IS_TEST, CLASSES})

Arrays = dict[str, NDArray[Any]]


def array_file(spec: str, options: DataOptions) -> Source:
    """Open an array file.

    An ``.npz``, or a dict of tensors in a ``.pt``, holds samples under one of ``X``, ``x``, ``data``,
    ``images``, ``features``, ``X_train``, ``x_train``. It may hold labels under one of ``y``, ``label``,
    ``labels``, ``target``, ``targets``, ``y_train``; a test part under ``X_test`` or ``x_test`` and
    ``y_test``, or marked by the booleans ``is_test``; and the names of the classes under ``classes``. Other
    keys are left alone. An ``.npy``, or a single tensor, holds samples; a pair of tensors holds samples and
    labels. A ``.csv`` holds a table, or signals: see `csv_files.read_csv`.

    Samples are tables [N, D], signals [N, C, T] of floats, grey images [N, H, W] of uint8, or images
    [N, C, H, W] or [N, H, W, C].

    Args:
        spec: the file's path.
        options: how it is read.

    Raises:
        DataError: naming the file, the key, and what was expected.
    """
    path = Path(spec).expanduser()
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise DataError(f"{path} is no array file; expected one of {', '.join(ARRAY_SUFFIXES)}")
    arrays, keys = _read(path)
    train, test = _parts(path, arrays, keys)
    names = (
        [str(name) for name in arrays[CLASSES].ravel().tolist()] if CLASSES in arrays and train.y is not None else None
    )
    return source_in_memory(path.stem, train, test, options=options, class_names=names)


def _read(path: Path) -> tuple[Arrays, list[str]]:
    """Return the arrays under the keys that are looked for, and the names of all keys."""
    if path.suffix.lower() == ".csv":
        table = read_csv(path, LABELS)
        return table, list(table)
    where = str(path)
    try:
        if path.suffix.lower() == ".pt":
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        else:
            # Opened here: NumPy leaves a broken zip open.
            with path.open("rb") as stream:
                loaded = np.load(stream, allow_pickle=False)
                if not isinstance(loaded, np.ndarray):
                    arrays = {}
                    for key in KEYS & set(loaded.files):
                        where = f"{path}: {key}"
                        arrays[key] = loaded[key]
                    return arrays, list(loaded.files)
    except Exception as error:  # the readers raise nearly anything for a broken file
        reason = str(error).strip().split("\n")[0]
        raise DataError(
            f"{where} cannot be read as arrays ({type(error).__name__}: {reason}); expected a {path.suffix} "
            "of numeric arrays without pickled objects (these can run code), as numpy.savez(path, X=..., "
            "y=...) or torch.save({'X': ...}, path) write it"
        ) from error
    if isinstance(loaded, tuple | list) and len(loaded) == 2 and isinstance(loaded[0], torch.Tensor):
        loaded = dict(zip(("X", "y"), loaded, strict=True))
    elif isinstance(loaded, torch.Tensor | np.ndarray):
        loaded = {"X": loaded}
    if not isinstance(loaded, Mapping):
        raise DataError(
            f"{path} holds a {type(loaded).__name__}; expected a tensor, a pair (samples, labels), or a dict "
            f"of tensors with samples under one of {', '.join(SAMPLES)}"
        )
    arrays = {key: _as_numpy(value, f"{path}: {key}") for key, value in loaded.items() if key in KEYS}
    return arrays, list(map(str, loaded))


def _as_numpy(value: Any, where: str) -> NDArray[Any]:
    if not isinstance(value, torch.Tensor):
        try:
            return np.asarray(value)
        except ValueError as error:
            raise DataError(f"{where} is no array ({error}); expected a tensor, or a list of equal rows") from error
    # NumPy has neither sparse arrays nor floats of 8 bits or bfloat16.
    value = value.detach() if value.layout == torch.strided else value.detach().to_dense()
    if value.is_floating_point() and value.dtype not in (torch.float16, torch.float32, torch.float64):
        value = value.float()
    array: NDArray[Any] = value.resolve_conj().resolve_neg().numpy()
    return array


def _parts(path: Path, arrays: Arrays, keys: list[str]) -> tuple[Part, Part | None]:
    """Find samples and labels by their keys, and the test part."""
    samples, labels = _one(path, arrays, SAMPLES), _one(path, arrays, LABELS)
    if samples is None:
        raise DataError(
            f"{path} has no samples; expected one of the keys {', '.join(SAMPLES)}, it has: {', '.join(keys) or 'none'}"
        )
    test_samples, test_labels = _one(path, arrays, TEST_SAMPLES), _one(path, arrays, TEST_LABELS)
    whole = _part(path, arrays, samples, labels)
    if test_samples is not None:
        if IS_TEST in arrays:
            raise DataError(f"{path} has both {test_samples} and {IS_TEST}; expected one way to tell the test part")
        return whole, _part(path, arrays, test_samples, test_labels)
    if test_labels is not None:
        raise DataError(f"{path} has {test_labels} but no samples for it; expected {' or '.join(TEST_SAMPLES)} too")
    if IS_TEST not in arrays:
        return whole, None
    mask = arrays[IS_TEST]
    if mask.shape != whole.x.shape[:1] or not np.isin(mask, (0, 1)).all() or not 0 < mask.sum() < len(mask):
        raise DataError(
            f"{path}: {IS_TEST} has shape {mask.shape} and dtype {mask.dtype}; expected {len(whole.x)} "
            f"booleans, one a sample of {samples}, some true and some false"
        )
    if whole.y is not None and len(whole.y) != len(whole.x):
        return whole, None  # told with the names of both when the lengths are compared
    mask = mask.astype(bool)
    train, test = (
        Part(whole.x[chosen], None if whole.y is None else whole.y[chosen], whole.x_name, whole.y_name)
        for chosen in (~mask, mask)
    )
    return train, test


def _one(path: Path, arrays: Arrays, keys: tuple[str, ...]) -> str | None:
    present = [key for key in keys if key in arrays]
    if len(present) > 1:
        raise DataError(f"{path} has {' and '.join(present)}; expected one of them: leave the others out of the file")
    return present[0] if present else None


def _part(path: Path, arrays: Arrays, samples: str, labels: str | None) -> Part:
    y = arrays[labels] if labels is not None else None
    x = arrays[samples]
    if x.ndim == 0:
        raise DataError(f"{path}: {samples} is a single value of type {x.dtype}; expected an array of samples")
    return Part(x, y, f"{path}: {samples}", f"{path}: {labels}" if labels else "")
