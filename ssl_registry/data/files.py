"""Looking through a folder of images: parts, classes, and links that lead back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["IMAGE_SUFFIXES", "Listing", "find_parts", "list_images"]

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jfif"}
)
TRAIN = "train"
TESTS = ("test", "val", "valid", "validation")  # the first of them that is there


@dataclass(frozen=True)
class Listing:
    """The image files below a folder, and the class of each: None when the folder has no class folders."""

    root: Path
    files: list[Path]
    labels: list[str] | None


def list_images(root: Path) -> Listing:
    """List the images below a folder, in an order that does not depend on the file system.

    Sub-folders are classes when there are two or more of them with images, and no image lies beside them;
    what is nested deeper belongs to its class. A folder with one sub-folder alone is looked through.
    """
    files = list(_walk(root, set()))
    while True:
        first = {path.relative_to(root).parts[0] for path in files}
        if len(first) == 1 and files and files[0].parent != root:
            root = root / first.pop()
            continue
        break
    beside = any(path.parent == root for path in files)
    if beside or len(first) < 2:
        return Listing(root, files, None)
    return Listing(root, files, [path.relative_to(root).parts[0] for path in files])


def find_parts(root: Path) -> tuple[Path, Path | None]:
    """Return the folders of both parts: ``train`` beside ``test`` or ``val``, or ``root`` alone."""
    test = next((root / name for name in TESTS if (root / name).is_dir()), None)
    if (root / TRAIN).is_dir() and test is not None:
        return root / TRAIN, test
    return root, None


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield image files, sorted, each folder once: a link to a folder above would never end."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as found:
        # Links last, so that a folder which is there and linked keeps its own name.
        entries = sorted(found, key=lambda entry: (entry.is_symlink(), entry.name))
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), seen)
        elif entry.is_file() and Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
            yield Path(entry.path)
