"""What the folders of images mean: which are parts, which are classes, and which images have neither."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.listing import Found, find_images
from ssl_registry.data.parts import Split, folder_part, part_level, split_names
from ssl_registry.errors import DataError

__all__ = ["Layout", "Listing", "fit_test", "read_layout"]


@dataclass(frozen=True)
class Listing:
    """Image files of one part.

    Args:
        files: in an order that does not depend on the file system.
        labels: the class of each, None for one that has none; or None where none of them has.
        where: the folder, for messages.
    """

    files: list[str]
    labels: list[str | None] | None
    where: Path

    @property
    def classes(self) -> list[str]:
        """The classes, sorted."""
        return sorted({label for label in self.labels or () if label is not None})


@dataclass
class Layout:
    """A folder of images as it was understood.

    Args:
        train, test: the parts; ``test`` is None where there is none.
        left_out: what is not used, and why.
        notes: what else was decided, in words.
    """

    train: Listing
    test: Listing | None = None
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_layout(root: Path, found: Found | None = None) -> Layout:
    """Look through a folder and tell its parts and classes by the names of its folders.

    A train part beside another decides, wherever it lies: ``set/Train``, ``images/{train,val}``, or below every
    class. What lies in folders beside the parts is left out; unlabelled parts are trained on. Below a part, or without
    parts, two or more folders with images are classes, and what is nested deeper belongs to its class; a folder that
    holds one folder alone is looked through.

    Args:
        root: the folder.
        found: the files; default: its images.

    Raises:
        DataError: if classes are named like parts.
        OSError: if a folder cannot be read.
    """
    found = found or find_images(root)
    files = found.files
    paths = [tuple(name.split(os.sep)) for name in found.names]
    level = part_level(path[:-1] for path in paths)
    left_out = found.left_out
    if level is None:
        labels = _classes(paths, left_out, root=root)
        _refuse_parts(labels, root)
        return Layout(_kept(files, labels, root), None, left_out, _no_classes(paths, labels))
    split, beside = _split([path[level] if len(path) - 1 > level else "" for path in paths], found, level)
    left_out += beside

    def listing(names: tuple[str, ...], *, labeled: bool = True) -> Listing:
        rows = [i for i, path in enumerate(paths) if len(path) - 1 > level and path[level] in names]
        rest = [paths[i][:level] + paths[i][level + 1 :] for i in rows]
        folder = root.joinpath(*paths[rows[0]][: level + 1]) if rows else root
        labels = _classes(rest, left_out, root=folder) if labeled else None
        _refuse_parts(labels, folder, within=True)
        return _kept([files[i] for i in rows], labels, folder)

    train, test = listing(split.train), listing(split.test) if split.test else None
    unlabeled = listing(split.unlabeled, labeled=False)
    if unlabeled.files:
        labels = None if train.labels is None else [*train.labels, *(None for _ in unlabeled.files)]
        train = Listing(train.files + unlabeled.files, labels, train.where)
    if split.validation:
        count = len(listing(split.validation).files)
        left_out.append((", ".join(split.validation), f"{count} images of a second held-out part"))
    return Layout(train, test, left_out)


def fit_test(train: Listing, test: Listing, told: Decisions, notes: list[str]) -> Listing | None:
    """Give the test part the train part's classes; None where it has no class folders and they have.

    Raises:
        DataError: if it has a class that the train part has not.
    """
    if train.labels is None:
        if test.labels is not None:
            notes.append(f"{train.where} has no class folders: the classes of {test.where} are not used")
        return Listing(test.files, None, test.where)
    if test.labels is None:
        # One class folder alone does not look like classes; but here their names are known.
        alone: list[str | None] = [Path(path).relative_to(test.where).parts[0] for path in test.files]
        if set(alone) <= set(train.classes):
            return Listing(test.files, alone, test.where)
        told.left_out.append((str(test.where), f"{len(test.files)} images of a test part that has no class folders"))
        return None
    if unknown := sorted(set(test.classes) - set(train.classes)):
        raise DataError(
            f"{test.where} has the class {unknown[0]!r}, {train.where} has not; it has: {', '.join(train.classes[:20])}"
        )
    return test


def _split(names: list[str], found: Found, level: int) -> tuple[Split, list[tuple[str, str]]]:
    """Sort the folders of one level into parts; what has no part's name is no sample."""
    counts = Counter(names)
    known = {name: part for name in counts if (part := folder_part(name)) is not None}
    beside = [
        (name or f"{count} images beside the parts", f"{count} images in no part" if name else "in no part")
        for name, count in sorted(counts.items())
        if name not in known
    ]
    return split_names(sorted(known), [known[name] for name in sorted(known)]), beside


def _classes(paths: list[tuple[str, ...]], left_out: list[tuple[str, str]], *, root: Path) -> list[str | None] | None:
    """Return the class of each path, None for one beside the class folders; or None where folders are no classes."""
    level = 0
    while len({path[level] for path in paths if len(path) - 1 > level}) == 1:
        level += 1
    labels = [path[level] if len(path) - 1 > level else None for path in paths]
    sizes = Counter(label for label in labels if label is not None)
    beside = labels.count(None)
    # A few images beside the class folders (a logo, a contact sheet) are not a pile that the folders merely order.
    if len(sizes) < 2 or beside >= median(sizes.values()):
        return None
    if beside:
        first = "/".join(paths[labels.index(None)])
        more = f" and {beside - 1} more" if beside > 1 else ""
        left_out.append((f"{root / first}{more}", "beside the class folders"))
    return labels


def _kept(files: list[str], labels: list[str | None] | None, where: Path) -> Listing:
    """Leave out what lies beside the class folders."""
    if labels is None:
        return Listing(files, None, where)
    chosen = [i for i, label in enumerate(labels) if label is not None]
    return Listing([files[i] for i in chosen], [labels[i] for i in chosen], where)


def _no_classes(paths: list[tuple[str, ...]], labels: list[str | None] | None) -> list[str]:
    """Say why there are no classes, where there are folders."""
    folders = {path[0] for path in paths if len(path) > 1}
    beside = sum(len(path) == 1 for path in paths)
    if labels is None and len(folders) > 1 and beside:
        return [f"{beside} images lie beside {len(folders)} folders: the folders are no classes"]
    return []


def _refuse_parts(labels: list[str | None] | None, root: Path, *, within: bool = False) -> None:
    """Refuse classes that are named like parts.

    Within a part one of several may be: the vehicle ``train`` is a class of Pascal VOC.
    """
    classes = sorted({label for label in labels or () if label is not None})
    named = [name for name in classes if folder_part(name) is not None]
    if named and (not within or len(named) == len(classes)):
        others = [name for name in classes if name not in named]
        beside = f" beside {', '.join(others[:5])}" if others else ""
        raise DataError(
            f"{root} has folders that are named like parts: {', '.join(named)}{beside}. A part to train on is called "
            f"train and lies beside another (test, val, unlabeled); if these are parts, give one of them: --data "
            f"{root / named[0]}, and --data.test FOLDER for a held-out one; if they are classes, rename them"
        )
