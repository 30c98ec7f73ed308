"""Looking through a folder of images: parts, classes, and links that lead back."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_registry.data.source import TEST_PARTS, TRAIN_PART

__all__ = ["IMAGE_SUFFIXES", "Listing", "by_part", "find_parts", "list_images"]

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jfif"}
)


@dataclass(frozen=True)
class Listing:
    """The image files below a folder.

    Args:
        root: the folder.
        files: in an order that does not depend on the file system.
        labels: the class of each; None when the folder has no class folders.
        loops: links that lead back to a folder above them, which were not followed.
    """

    root: Path
    files: list[Path]
    labels: list[str] | None
    loops: tuple[Path, ...] = ()


def list_images(root: Path) -> Listing:
    """List the images below a folder, in an order that does not depend on the file system.

    Sub-folders are classes when there are two or more of them with images, and no image lies beside them;
    what is nested deeper belongs to its class. A folder with one sub-folder alone is looked through. Where nothing
    else is an image, two or more ``.npy`` files are, one array each.
    """
    loops: list[Path] = []
    files = list(_walk(root, IMAGE_SUFFIXES, set(), loops))
    if not files:
        arrays = list(_walk(root, frozenset({".npy"}), set(), []))
        files = arrays if len(arrays) > 1 else []
    while True:
        first = {path.relative_to(root).parts[0] for path in files}
        if len(first) == 1 and files and files[0].parent != root:
            root = root / first.pop()
            continue
        break
    beside = any(path.parent == root for path in files)
    if beside or len(first) < 2:
        return Listing(root, files, None, tuple(loops))
    return Listing(root, files, [path.relative_to(root).parts[0] for path in files], tuple(loops))


def find_parts(root: Path) -> tuple[Path, Path | None]:
    """Return the folders of both parts: ``train`` beside ``test`` or ``val``, or ``root`` alone."""
    test = next((root / name for name in TEST_PARTS if (root / name).is_dir()), None)
    if (root / TRAIN_PART).is_dir() and test is not None:
        return root / TRAIN_PART, test
    return root, None


def by_part(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Tell files of the train part from those of the test part by how their names begin.

    >>> by_part([Path("train-0.parquet"), Path("test-0.parquet")])
    ([PosixPath('train-0.parquet')], [PosixPath('test-0.parquet')])
    """
    train = [path for path in paths if path.name.startswith(TRAIN_PART)]
    for name in TEST_PARTS:
        test = [path for path in paths if path.name.startswith(name)]
        if train and test:
            return train, test
    return paths, []


def _walk(
    folder: Path, suffixes: frozenset[str], seen: set[tuple[int, int]], loops: list[Path], above: tuple[Any, ...] = ()
) -> Iterator[Path]:
    """Yield files, sorted, each folder once: a link to a folder above would never end."""
    status = folder.stat()
    this = (status.st_dev, status.st_ino)
    if this in seen:
        loops += [folder] if this in above else []
        return
    seen.add(this)
    with os.scandir(folder) as found:
        # Links last, so that a folder which is there and linked keeps its own name.
        entries = sorted(found, key=lambda entry: (entry.is_symlink(), entry.name))
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            loops.append(Path(entry.path))  # a link to itself
            continue
        if is_folder:
            yield from _walk(Path(entry.path), suffixes, seen, loops, (*above, this))
        elif is_file and Path(entry.name).suffix.lower() in suffixes:
            yield Path(entry.path)
