"""A folder of recordings, a file each: ``.wav``, ``.npy``, ``.csv``, ``.tsv`` or ``.parquet``, of any length."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry._system.terminal import in_unicode
from ssl_registry.data.arrays.memory import Part, part_of_windows, source_in_memory
from ssl_registry.data.arrays.recordings import channels_first, cut_windows
from ssl_registry.data.arrays.table_files import TEST, TRAIN, UNLABELED, File
from ssl_registry.data.arrays.tables import source_from_files
from ssl_registry.data.columns import SAMPLE, plain_name
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.layout import Listing, fit_test, read_layout
from ssl_registry.data.images.listing import Found, find_files
from ssl_registry.data.options import DataOptions
from ssl_registry.data.parts import name_part
from ssl_registry.data.samples import Origin
from ssl_registry.data.source import Source
from ssl_registry.data.sources import TEXT_SUFFIXES
from ssl_registry.data.sources.arrow import as_frame
from ssl_registry.data.sources.csv_files import read_csv
from ssl_registry.data.sources.parquet import read_parquet
from ssl_registry.errors import DataError

__all__ = ["OTHER_SOUND", "find_recordings", "recordings"]

TABLES = (*TEXT_SUFFIXES, ".parquet")
# Of kinds of files that are equally many the first is taken: a table beside sounds tells of them.
SUFFIXES = (".wav", ".npy", ".parquet", *TEXT_SUFFIXES)
# Sound in other forms, which must be converted.
OTHER_SOUND = (".flac", ".mp3", ".ogg", ".m4a", ".aac", ".opus", ".aif", ".aiff", ".wma")
LOOKED_AT = 64  # arrays whose shapes tell whether they are recordings
LONG = 8  # an array of two axes is a recording rather than a picture if it is so many times as long as wide


def find_recordings(root: Path, images: Found, options: DataOptions) -> Found | None:
    """Return the recordings below a folder; None where it holds images, or tables whose rows are samples.

    Where neither ``modality`` nor windows ask for signals, images decide for images; so does a single table or array,
    a table for each part (``train.csv``, ``test.csv``), one with a column ``sample``, and arrays of two axes unless one
    is eight times as long as the other.

    Args:
        root: the folder.
        images: what it holds as a folder of images.
        options: how it is read.

    Raises:
        DataError: if a table cannot be read.
        OSError: if a folder cannot be read.
    """
    asked = options.modality == "signal" or options.window_length is not None
    pictures = any(not name.lower().endswith(".npy") for name in images.names)
    if options.modality in ("image", "table") or (pictures and not asked):
        return None
    found = find_files(root, SUFFIXES)
    counts = Counter(map(_suffix, found.names))
    if not counts:
        return None
    suffix = max(SUFFIXES, key=lambda one: counts[one])
    found.names = [name for name in found.names if _suffix(name) == suffix]
    if not asked and (
        (suffix == ".npy" and not _are_long(found.files)) or (suffix in TABLES and not _are_alike(found.files))
    ):
        return None
    return found


def recordings(root: Path, found: Found, options: DataOptions) -> Source:
    """Open a folder of recordings.

    Parts and classes are told by the names of folders, as of images. Recordings of several lengths are cut into windows
    (see `ssl_registry.data.arrays.recordings.cut_windows`); all windows of one lie in one part.

    Args:
        root: the folder.
        found: its recordings, all of one kind.
        options: how they are read.

    Raises:
        DataError: naming the file that cannot be read, or does not fit the others.
    """
    layout, told = read_layout(root, found), Decisions()
    notes, train, test = layout.notes, layout.train, layout.test
    told.left_out += layout.left_out
    suffix = _suffix(found.names[0])
    others = sorted({*SUFFIXES, *OTHER_SOUND} - {suffix})
    for kind, count in sorted(Counter(map(_suffix, find_files(root, others).names)).items()):
        told.left_out.append((f"{count} {kind}", f"beside {len(found.names)} {suffix}"))
    if options.test_data is not None:
        other = Path(options.test_data).expanduser()
        if test is not None:
            told.left_out.append((str(test.where), "--data.test names another test part"))
        there = find_files(other, (suffix,)) if other.is_dir() else None
        if there is None or not there.names:
            raise DataError(f"{other} holds no {suffix} files; --data.test takes a folder of them, as --data")
        held = read_layout(other, there)
        test = held.test or held.train
    if test is not None:
        test = fit_test(train, test, told, notes)
    parts = [(TRAIN, train), *([(TEST, test)] if test is not None else [])]
    if train.labels is None:
        told.no_label = "no class folders"
    open_files = _tables if suffix in TABLES else _arrays
    return open_files(root, suffix, parts, options, told)


def _tables(
    root: Path, suffix: str, parts: Sequence[tuple[str, Listing]], options: DataOptions, told: Decisions
) -> Source:
    files = []
    for part, listing in parts:
        for path, label in zip(listing.files, listing.labels or [None] * len(listing.files), strict=True):
            named = UNLABELED if part == TRAIN and listing.labels and label is None else part
            named_class = None if label is None else in_unicode(label)
            if suffix == ".parquet":
                table = read_parquet(path, named)
                files.append(File(as_frame(table), path, named, table.indices, label=named_class))
            else:
                read = read_csv(Path(path), named, told, header=False)
                files.append(File(read.frame, path, named, first_row=read.first_row, label=named_class))
    return source_from_files(in_unicode(root.resolve().name), files, options, told=told, recordings=True)


def _arrays(
    root: Path, suffix: str, parts: Sequence[tuple[str, Listing]], options: DataOptions, told: Decisions
) -> Source:
    options.check_taken(
        f"{root}, with its {suffix} files,", ("modality", "test_data", "window_length", "window_stride")
    )
    files = [path for _, listing in parts for path in listing.files]
    labels = [label for _, listing in parts for label in listing.labels or [None] * len(listing.files)]
    is_test = np.repeat([part == TEST for part, _ in parts], [len(listing.files) for _, listing in parts])
    arrays, rate = _read_sounds(files, told) if suffix == ".wav" else ([_read_array(path) for path in files], None)
    told.more.append(f"recordings, a {suffix} file each")
    cut = cut_windows(channels_first(arrays, files, told), files, options, told)
    every = np.arange(len(files))
    whole = part_of_windows(
        Part(
            arrays,
            None if parts[0][1].labels is None else np.array([in_unicode(label or "") for label in labels]),
            str(root),
            f"{root}: folders",
            origin=Origin(tuple(files), every, every),
        ),
        cut,
    )
    test = is_test[cut.recording]
    source = source_in_memory(
        in_unicode(root.resolve().name),
        whole.chosen(~test),
        whole.chosen(test) if test.any() else None,
        options=options.model_copy(update={"modality": "signal"}),
        told=told,
    )
    return dataclasses.replace(source, rate=rate)


def _read_array(path: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises nearly anything for a broken file
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{path} cannot be read as an array ({type(error).__name__}: {reason})") from error
    return array


def _read_sounds(paths: Sequence[str], told: Decisions) -> tuple[list[NDArray[np.float32]], float]:
    """Read sounds as floats in [-1, 1]: each [time], or [time, channels]; and how many moments a second has."""
    from scipy.io import wavfile

    arrays, rates = [], Counter[int]()
    first: dict[int, str] = {}
    for path in paths:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of notes that programs leave in the file
                rate, data = wavfile.read(path)
        except Exception as error:  # SciPy raises nearly anything for a broken file
            reason = str(error).strip().split("\n")[0]
            raise DataError(
                f"{path} cannot be read as WAV ({type(error).__name__}: {reason}); convert it, or leave it out"
            ) from error
        if not data.size:
            raise DataError(f"{path} holds no sound; leave it out")
        rates[rate] += 1
        first.setdefault(rate, path)
        if data.dtype == np.uint8:
            data = (data.astype(np.float32) - 128) / 128
        elif data.dtype.kind == "i":
            data = data.astype(np.float32) / np.float32(2.0 ** (8 * data.dtype.itemsize - 1))
        arrays.append(np.atleast_1d(data.astype(np.float32)))
    if len(rates) > 1:
        words = ", ".join(f"{count} of {rate:,} Hz ({first[rate]})" for rate, count in rates.most_common())
        raise DataError(f"recordings have several sampling rates: {words}; resample them to one")
    rate = next(iter(rates))
    told.more.append(f"{rate:,} Hz")
    return arrays, float(rate)


def _are_long(paths: Sequence[str]) -> bool:
    """Whether arrays are recordings by their shapes."""
    if len(paths) < 2:
        return False
    for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception:  # as above; it is told when it is opened
            continue
        if array.ndim not in (1, 2) or not array.size:
            return False
        if array.ndim == 2 and (array.dtype.kind != "f" or max(array.shape) < LONG * min(array.shape)):
            return False
    return True


def _are_alike(paths: Sequence[str]) -> bool:
    """Whether each of several tables can be a recording: they are no parts, and no rows name their sample."""
    parts = [name_part(Path(path).stem) for path in paths]
    if len(paths) < 2 or (None not in parts and len(set(parts)) == len(parts)):
        return False
    first = paths[0]
    names = (
        read_parquet(first, TRAIN).table.column_names
        if first.endswith(".parquet")
        else list(read_csv(Path(first), header=False).frame.columns)
    )
    return all(plain_name(name) != SAMPLE for name in names)


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()
