"""Array files: ``.npz``, ``.npy`` and ``.pt``, read without unpickling anything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_registry.data.arrays.labels import as_text
from ssl_registry.data.arrays.marks import parts_by_mark
from ssl_registry.data.arrays.memory import Part, source_in_memory
from ssl_registry.data.arrays.recordings import without_padding
from ssl_registry.data.columns import IS_TEST, LABELS, plain_name
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.options import DataOptions
from ssl_registry.data.samples import Origin
from ssl_registry.data.source import Source
from ssl_registry.data.sources import ARRAY_SUFFIXES
from ssl_registry.errors import DataError, did_you_mean

__all__ = ["array_file"]


def _keys(parts: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """Return what a part's array may be called: ``x_train``, ``train_x``."""
    pairs = [(part, word) for part in parts for word in words]
    return tuple(name for part, word in pairs for name in (f"{word}_{part}", f"{part}_{word}"))


# Names of keys, in lower case; an upper-case X is as good.
WORDS = ("x", "data", "images", "features", "samples")
# Of several held-out parts the first of these is taken.
HELD_OUT_PARTS = (("test",), ("val", "valid", "validation"))
SAMPLES = (*WORDS, "train", *_keys(("train",), WORDS))
TRAIN_LABELS = (*LABELS, *_keys(("train",), LABELS))
HELD_OUT = tuple((*parts, *_keys(parts, WORDS)) for parts in HELD_OUT_PARTS)
HELD_OUT_LABELS = tuple(_keys(parts, LABELS) for parts in HELD_OUT_PARTS)
CLASSES = ("classes", "class_names")
LENGTHS = "lengths"
UNNAMED = re.compile(r"arr_\d+")  # what numpy.savez calls arrays without names
KEYS = frozenset({LENGTHS, *SAMPLES, *TRAIN_LABELS, *sum((*HELD_OUT, *HELD_OUT_LABELS), ()), IS_TEST, *CLASSES})

Arrays = dict[str, Any]  # an array; of signals of several lengths a list of arrays


def array_file(spec: str, options: DataOptions) -> Source:
    """Open an array file.

    An ``.npz``, or a dict of tensors in a ``.pt``, holds samples under one of ``X``, ``data``, ``images``,
    ``features``, ``samples``, ``X_train``, ``train_images``, ``train``. It may hold labels under ``y``, ``label``,
    ``labels``, ``target``, ``targets``, ``class``, ``y_train`` or ``train_labels``; a test part under ``X_test`` (or
    ``X_val``) and ``y_test``, or marked by ``is_test``; and the names of the classes under ``classes``. Upper and lower
    case are alike. Other keys are left alone, and told. An ``.npy``, or a single tensor, holds samples; a pair of
    tensors holds samples and labels, and so does what ``numpy.savez(path, X, y)`` writes.

    Signals of several lengths lie in an ``.npz`` as `numpy.savez` ``(path, *signals, y=labels)`` writes them, in a
    ``.pt`` as a list of tensors, or filled up at their ends: with NaN, or with anything where ``lengths`` tells how
    long each is.

    Samples are tables [N, D], signals [N, C, T] of floats, grey images [N, H, W] of uint8, or images
    [N, C, H, W] or [N, H, W, C].

    Args:
        spec: the file's path.
        options: how it is read.

    Raises:
        DataError: naming the file, the key, and what was expected.
    """
    told = Decisions()
    path = Path(spec).expanduser()
    train, test, names = _opened(path, options, told)
    if options.test_data is not None:
        if test is not None:
            told.left_out.append((test.x_name, "--data.test names another test part"))
        whole, own, _ = _opened(Path(options.test_data).expanduser(), options, told)
        test = own or whole
    return source_in_memory(path.stem, train, test, options=options, class_names=names, told=told)


def _opened(path: Path, options: DataOptions, told: Decisions) -> tuple[Part, Part | None, list[str] | None]:
    """Read a file; return its parts and the names of its classes."""
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise DataError(f"{path} is no array file; expected one of {', '.join(ARRAY_SUFFIXES)}")
    arrays, keys = _read(path, options.label_column)
    train, test = _parts(path, arrays, keys, options.label_column, told)
    classes = _one(path, arrays, CLASSES)
    if classes is None or train.y is None:
        return train, test, None
    return train, test, [str(name) for name in as_text(arrays[classes], f"{path}: {classes}").ravel().tolist()]


def _read(path: Path, label: str | None) -> tuple[Arrays, list[str]]:
    """Return the arrays under the keys that are looked for, and the names of all keys."""
    where = str(path)
    try:
        if path.suffix.lower() == ".pt":
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        else:
            # Opened here: NumPy leaves a broken zip open.
            with path.open("rb") as stream:
                single = stream.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX
                stream.seek(0)
                # Mapped: what is not asked for is not read, and the system may drop what is read. Copied where it is
                # written: torch takes no arrays that are read-only.
                loaded = np.lib.format.open_memmap(path, mode="c") if single else np.load(stream, allow_pickle=False)
                if not isinstance(loaded, np.ndarray):
                    arrays = {}
                    for key in (key for key in loaded.files if _is_looked_for(key, label)):
                        where = f"{path}: {key}"
                        arrays[key] = loaded[key]
                    return _named(arrays), list(loaded.files)
    except Exception as error:  # the readers raise nearly anything for a broken file
        reason = str(error).strip().split("\n")[0]
        raise DataError(
            f"{where} cannot be read as arrays ({type(error).__name__}: {reason}); expected a {path.suffix} "
            "of numeric arrays without pickled objects (these can run code), as numpy.savez(path, X=..., "
            "y=...), for signals of several lengths numpy.savez(path, *signals, y=...), or torch.save({'X': ...}, "
            "path) write it"
        ) from error
    if isinstance(loaded, tuple | list) and len(loaded) == 2 and isinstance(loaded[0], torch.Tensor):
        loaded = dict(zip(("X", "y"), loaded, strict=True))
    elif isinstance(loaded, torch.Tensor | np.ndarray):
        loaded = {"X": loaded}
    if not isinstance(loaded, Mapping):
        raise DataError(
            f"{path} holds a {type(loaded).__name__}; expected a tensor, a pair (samples, labels), or a dict "
            f"of tensors with samples under one of {', '.join(WORDS)}"
        )
    arrays = {key: _as_numpy(value, f"{path}: {key}") for key, value in loaded.items() if _is_looked_for(key, label)}
    return arrays, list(map(str, loaded))


def _is_looked_for(key: object, label: str | None) -> bool:
    return plain_name(key) in KEYS or key == label or UNNAMED.fullmatch(str(key)) is not None


def _named(arrays: Arrays) -> Arrays:
    """Call the arrays that `numpy.savez` was given without names samples: one array, or one for each."""
    found = sorted((key for key in arrays if UNNAMED.fullmatch(key)), key=lambda key: int(key.partition("_")[2]))
    if not found or any(plain_name(key) in SAMPLES for key in arrays):
        return arrays
    x: Any = arrays[found[0]] if len(found) == 1 else [arrays[key] for key in found]
    if len(found) == 2 and x[0].ndim > 1 and x[1].shape in ((len(x[0]),), (len(x[0]), 1)):
        return {"X": x[0], "y": x[1], **{key: value for key, value in arrays.items() if key not in found}}
    return {"X": x, **{key: value for key, value in arrays.items() if key not in found}}


def _as_numpy(value: Any, where: str) -> Any:
    if not isinstance(value, torch.Tensor):
        if isinstance(value, list | tuple) and len({getattr(one, "shape", None) for one in value}) > 1:
            return [_as_numpy(one, where) for one in value]
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


def _parts(path: Path, arrays: Arrays, keys: list[str], label: str | None, told: Decisions) -> tuple[Part, Part | None]:
    """Find samples and labels by their keys, and the test part."""
    samples = _one(path, arrays, SAMPLES)
    if samples is None:
        raise DataError(
            f"{path} has no samples; expected one of the keys {', '.join(('X', *WORDS))} (X_train, train_images, ...), "
            f"it has: {', '.join(keys) or 'none'}"
        )
    if label is not None and label not in arrays:
        raise DataError(
            f"{path} has no key {label!r}, which --data.label names.{did_you_mean(label, keys)} It has: "
            f"{', '.join(keys)}"
        )
    labels = label or _one(path, arrays, TRAIN_LABELS)
    whole = _part(path, arrays, samples, labels)
    unused = [key for key in keys if key not in arrays and not UNNAMED.fullmatch(key)]
    told.left_out += [(key, "no key that is looked for") for key in unused]
    found = [(_one(path, arrays, x), _one(path, arrays, y)) for x, y in zip(HELD_OUT, HELD_OUT_LABELS, strict=True)]
    for (x, y), names in zip(found, HELD_OUT, strict=True):
        if x is None and y is not None:
            raise DataError(f"{path} has {y} but no samples for it; expected {' or '.join(names[:3])} too")
    held = [(x, y) for x, y in found if x is not None]
    told.left_out += [(str(x), "a second held-out part") for x, _ in held[1:]]
    mark = _one(path, arrays, (IS_TEST,))
    if held:
        x, y = held[0]
        if mark is not None:
            raise DataError(f"{path} has both {x} and {mark}; expected one way to tell the test part")
        assert x is not None
        return whole, _part(path, arrays, x, y, start=len(whole.x))
    if mark is None:
        return whole, None
    marked = parts_by_mark(arrays[mark])
    if marked is None or len(marked) != len(whole.x):
        raise DataError(
            f"{path}: {mark} has shape {arrays[mark].shape} and dtype {arrays[mark].dtype}; expected {len(whole.x)} "
            f"booleans, one a sample of {samples}"
        )
    if whole.y is not None and len(whole.y) != len(whole.x):
        return whole, None  # told with the names of both when the lengths are compared
    if marked.all() or not marked.any():
        told.more.append(f"{mark} is the same for all samples: read as one part")
        return whole, None
    return whole.chosen(~marked), whole.chosen(marked)


def _one(path: Path, arrays: Arrays, names: tuple[str, ...]) -> str | None:
    """Return the key that has one of these names, in whatever case."""
    present = [key for key in arrays if plain_name(key) in names]
    if len(present) > 1:
        raise DataError(
            f"{path} has {' and '.join(present)}; expected one of them: leave the others out of the file"
            + (", or say which holds the labels: --data.label KEY" if names == TRAIN_LABELS else "")
        )
    return present[0] if present else None


def _part(path: Path, arrays: Arrays, samples: str, labels: str | None, start: int = 0) -> Part:
    y = arrays[labels] if labels is not None else None
    if isinstance(y, list):
        raise DataError(f"{path}: {labels} holds lists of several lengths; expected one label a sample")
    x = arrays[samples]
    lengths = _one(path, arrays, (LENGTHS,))
    if isinstance(x, list):
        x = [np.asarray(one) for one in x]
    elif x.ndim == 0:
        raise DataError(f"{path}: {samples} is a single value of type {x.dtype}; expected an array of samples")
    elif lengths is not None:
        if start:
            raise DataError(f"{path} has {lengths} and {samples}; expected one array of samples, and is_test")
        x = _of_lengths(x, arrays[lengths], f"{path}: {lengths}")
    elif x.ndim == 3 and x.dtype.kind == "f":
        x = without_padding(x)
    rows = np.arange(len(x))
    origin = Origin((str(path),), np.zeros(len(x), np.int64), start + rows)
    return Part(x, y, f"{path}: {samples}", f"{path}: {labels}" if labels else "", origin=origin)


def _of_lengths(x: NDArray[Any], lengths: NDArray[Any], where: str) -> list[NDArray[Any]]:
    """Return signals [N, channels, time] or [N, time] without what fills them up."""
    if lengths.shape != (len(x),) or lengths.dtype.kind not in "iu" or x.ndim not in (2, 3):
        raise DataError(
            f"{where} has shape {lengths.shape} and dtype {lengths.dtype}, for samples of shape {x.shape}; expected "
            "one whole number a signal, [N], for signals [N, channels, time]"
        )
    if lengths.min() < 1 or lengths.max() > x.shape[-1]:
        raise DataError(f"{where} reaches from {lengths.min()} to {lengths.max()}; expected 1 to {x.shape[-1]}")
    return [one[..., :length] for one, length in zip(x, lengths.tolist(), strict=True)]
