"""A folder of images, with or without class folders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from ssl_registry.data.arrays.labels import held_out_note, stratified_holdout
from ssl_registry.data.images.image_files import ImageFiles
from ssl_registry.data.images.inspect_images import probe
from ssl_registry.data.images.listing import IMAGE_SUFFIXES, Listing, find_parts, list_images
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.data.sources import ARRAY_SUFFIXES
from ssl_registry.errors import DataError

__all__ = ["folder"]


def folder(spec: str, options: DataOptions) -> Source:
    """Open a folder of images.

    Sub-folders are classes; images that lie directly in the folder make it one without labels. ``train``
    beside ``test`` (or ``val``) are taken as the parts. Files are decoded when they are asked for.

    Args:
        spec: the folder's path.
        options: how it is read. Images are turned upright, and their centred square is resized to ``image_size``.

    Raises:
        DataError: if it holds no readable image, or its parts do not fit together.
    """
    options.require_images(spec)
    path, image_size = Path(spec).expanduser(), options.image_size or 224
    train_root, test_root = find_parts(path)
    try:
        train, test = list_images(train_root), None if test_root is None else list_images(test_root)
    except OSError as error:
        raise DataError(f"{path} cannot be looked through ({error}); expected a folder that you may read") from error
    for part, root in ((train, train_root), (test, test_root)):
        if part is not None and not part.files:
            raise DataError(_empty(root or path))
    pixels, (mean, std) = probe(lambda index: train.files[index].read_bytes(), len(train.files), str(train.root))
    classes = tuple(sorted(set(train.labels))) if train.labels is not None else None
    notes = [f"{link} leads back to a folder above it: not followed" for link in train.loops]
    kept, held = train, test
    if test is not None:
        held = _fit_test(train, test, test_root or path, notes)
    elif train.labels is not None:
        kept, held = _hold_out(train, options, notes)
    elif options.holdout:
        notes.append("no class folders: nothing is held out")

    codes = {name: code for code, name in enumerate(classes or ())}

    def dataset(part: Listing) -> ImageFiles:
        labels = [codes[name] for name in part.labels] if codes and part.labels is not None else None
        return ImageFiles(part.files, labels, size=image_size, pixels=pixels)

    return Source(
        name=path.resolve().name,
        modality="image",
        input_shape=(pixels.channels, image_size, image_size),
        train=dataset(kept),
        test=None if held is None else dataset(held),
        classes=classes,
        mean=mean,
        std=std,
        notes=tuple(notes),
    )


def _fit_test(train: Listing, test: Listing, root: Path, notes: list[str]) -> Listing | None:
    if train.labels is None:
        if test.labels is not None:
            notes.append(f"{train.root} has no class folders: the classes of {test.root} are not used")
        return Listing(test.root, test.files, None)
    if test.labels is None:
        # One class folder alone does not look like classes; but here their names are known.
        alone = [path.relative_to(root).parts[0] for path in test.files]
        if set(alone) <= set(train.labels):
            return Listing(root, test.files, alone)
        notes.append(f"{test.root} has no class folders: it is not used")
        return None
    if unknown := sorted(set(test.labels) - set(train.labels)):
        raise DataError(
            f"{test.root} has the class {unknown[0]!r}, {train.root} has not; it has: "
            f"{', '.join(sorted(set(train.labels))[:20])}"
        )
    return test


def _hold_out(whole: Listing, options: DataOptions, notes: list[str]) -> tuple[Listing, Listing | None]:
    if whole.labels is None:
        return whole, None
    _, numbers = np.unique(np.asarray(whole.labels), return_inverse=True)
    kept, held = stratified_holdout(numbers, options.holdout, options.seed)
    if not len(held):
        return whole, None
    notes.append(held_out_note(len(held), len(whole.files), options.seed))
    labels = whole.labels
    train, test = (
        Listing(whole.root, [whole.files[i] for i in part], [labels[i] for i in part]) for part in (kept, held)
    )
    return train, test


def _empty(root: Path) -> str:
    suffixes = Counter(path.suffix.lower() or "no suffix" for path in root.iterdir() if path.is_file())
    there = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5)) or "no file"
    for suffix, word in ((".tar", "shards"), (".parquet", "tables")):
        if any(root.glob(f"*{suffix}")):
            return f"{root} holds no images; for its {word} give {root / '*'!s}{suffix}"
    arrays = sorted(path for path in root.iterdir() if path.suffix.lower() in ARRAY_SUFFIXES)
    hint = f"; for its arrays give the file itself: {arrays[0]}" if arrays else ""
    return f"{root} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); directly in it: {there}{hint}"
