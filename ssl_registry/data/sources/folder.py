"""A folder of images, with or without class folders and parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_registry._system.terminal import in_unicode
from ssl_registry.data.arrays.labels import UNLABELED, stratified_holdout
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.image_files import ImageFiles
from ssl_registry.data.images.inspect_images import probe
from ssl_registry.data.images.layout import Layout, Listing, fit_test, read_layout
from ssl_registry.data.images.listing import IMAGE_SUFFIXES, Found, find_images
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.data.sources import ARRAY_SUFFIXES, TEXT_SUFFIXES
from ssl_registry.data.sources.recordings import OTHER_SOUND, find_recordings, recordings
from ssl_registry.errors import DataError

__all__ = ["folder"]

TABLES = (*TEXT_SUFFIXES, ".json", ".jsonl", ".parquet", ".xlsx", ".xml")


def folder(spec: str, options: DataOptions) -> Source:
    """Open a folder of images.

    A folder of recordings is opened by `ssl_registry.data.sources.recordings.recordings`.

    Parts and classes are told by the names of its folders: see `ssl_registry.data.images.layout.read_layout`. Files are
    decoded when they are asked for.

    Args:
        spec: the folder's path.
        options: how it is read. Images are turned upright, and their centred square is resized to ``image_size``.

    Raises:
        DataError: if it holds no readable image, or its parts do not fit together.
    """
    path, image_size = Path(spec).expanduser(), options.file_size
    images, found = _files(path, options)
    if found is not None:
        return recordings(path, found, options)
    options.check_taken(spec, ("test_data", "value_range"))
    layout = _looked_through(path, images)
    train, test, notes = layout.train, layout.test, layout.notes
    if options.test_data is not None:
        other = _looked_through(Path(options.test_data).expanduser())
        if test is not None:
            layout.left_out.append((str(test.where), f"{len(test.files)} images; --data.test names another test part"))
        test = other.test or other.train
        layout.left_out += other.left_out
    for part in (train, test):
        if part is not None and not part.files:
            raise DataError(_empty(part.where, layout))
    classes = tuple(train.classes) if train.labels is not None else None
    told = Decisions(left_out=layout.left_out, label="folders" if classes else None, classes=classes)
    pixels, (mean, std) = probe(
        lambda index: Path(train.files[index]).read_bytes(), len(train.files), str(path), options, told
    )
    kept, held = train, test
    rows: Sequence[NDArray[np.int64] | None] = (None, None)
    if test is not None:
        held = fit_test(train, test, told, notes)
    elif train.labels is not None:
        kept, held, rows = _hold_out(train, options, told)
    elif options.holdout:
        notes.append("no class folders: nothing is held out")
    if layout.test is None and options.test_data is None and train.labels is None:
        told.no_label = "no class folders"
    if train.labels is None:
        told.left_out += [(name, "beside the images: labels come from class folders alone") for name in _tables(path)]
    if pixels.channels not in (1, 3):
        told.more.append(f"images of {pixels.channels} channels; the shortest axis of an array is that of the channels")
    told.add_part("train", len(kept.files), unlabeled=(kept.labels or []).count(None))
    if held is not None:
        told.add_part("test", len(held.files), unlabeled=(held.labels or []).count(None))
    codes = {name: code for code, name in enumerate(classes or ())}

    def dataset(part: Listing, rows: NDArray[np.int64] | None) -> ImageFiles:
        labels = [codes.get(name or "", UNLABELED) for name in part.labels] if codes and part.labels else None
        return ImageFiles(part.files, labels, size=image_size, pixels=pixels, rows=rows)

    return Source(
        name=in_unicode(path.resolve().name),
        modality="image",
        input_shape=(pixels.channels, image_size, image_size),
        train=dataset(kept, rows[0]),
        test=None if held is None else dataset(held, rows[1]),
        classes=None if classes is None else tuple(map(in_unicode, classes)),
        mean=mean,
        std=std,
        notes=tuple(notes),
        decided=told.line(),
        value_range=pixels.value_range,
    )


def _files(path: Path, options: DataOptions) -> tuple[Found, Found | None]:
    """Return the images of a folder, and its recordings where it is a folder of these."""
    try:
        images = find_images(path)
        return images, find_recordings(path, images, options)
    except OSError as error:
        raise DataError(f"{path} cannot be looked through ({error}); expected a folder that you may read") from error


def _looked_through(path: Path, images: Found | None = None) -> Layout:
    try:
        return read_layout(path, images)
    except OSError as error:
        raise DataError(f"{path} cannot be looked through ({error}); expected a folder that you may read") from error


def _hold_out(
    whole: Listing, options: DataOptions, told: Decisions
) -> tuple[Listing, Listing | None, Sequence[NDArray[np.int64] | None]]:
    """Hold out a share of each class, and tell which files that are; images without a class stay in the train part."""
    labels = whole.labels or []
    codes = {name: code for code, name in enumerate(whole.classes)}
    numbers = np.array([codes.get(name or "", UNLABELED) for name in labels], np.int64)
    kept, held = stratified_holdout(numbers, options.holdout, options.seed)
    if not len(held):
        return whole, None, (None, None)
    told.hold_out(options.seed)
    train, test = (
        Listing([whole.files[i] for i in part], [labels[i] for i in part], whole.where) for part in (kept, held)
    )
    return train, test, (kept, held)


def _tables(root: Path) -> list[str]:
    """Return the tables that lie beside images, which may hold labels."""
    return sorted(entry.name for entry in root.iterdir() if entry.suffix.lower() in TABLES and entry.is_file())


def _empty(root: Path, layout: Layout) -> str:
    suffixes = Counter(path.suffix.lower() or "no suffix" for path in root.iterdir() if path.is_file())
    there = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5)) or "no file"
    for suffix, word in ((".tar", "shards"), (".parquet", "tables")):
        if any(root.glob(f"*{suffix}")):
            return f"{root} holds no images; for its {word} give {root / '*'!s}{suffix}"
    arrays = sorted(path for path in root.iterdir() if path.suffix.lower() in ARRAY_SUFFIXES + TEXT_SUFFIXES)
    hint = f"; for its arrays give the file itself: {arrays[0]}" if arrays else ""
    if len(texts := [path.suffix for path in arrays if path.suffix.lower() in TEXT_SUFFIXES]) > 1:
        hint = f"; for tables whose rows are samples give {str(root / '*') + texts[0]!r}, for recordings, a file each, "
        hint += "--modality signal"
    if sounds := [suffix for suffix in suffixes if suffix in OTHER_SOUND]:
        hint += f"; sound is read from .wav: convert {sounds[0]}"
    skipped = "".join(f"; left out: {what} ({why})" for what, why in layout.left_out)
    return f"{root} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); directly in it: {there}{hint}{skipped}"
