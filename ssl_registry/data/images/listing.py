"""Walking through a folder of images: which files are samples, and which are left out, and why."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["IMAGE_SUFFIXES", "Found", "find_files", "find_images"]

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jfif"}
)
# Images all the same: cameras, phones, scanners and browsers write them, and no reader of ours takes them.
OTHER_FORMATS = frozenset(
    [
        ".avif",
        ".avifs",
        ".heic",
        ".heif",
        ".hif",
        ".jp2",
        ".j2k",
        ".jpf",
        ".jpx",
        ".jxl",
        ".jxr",
        ".svg",
        ".tga",
        ".ico",
        ".icns",
        ".psd",
        ".xcf",
        ".exr",
        ".hdr",
        ".dds",
        ".pcx",
        ".dcm",
        ".dicom",
        ".nii",
        ".fits",
        ".raw",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".orf",
        ".rw2",
        ".raf",
        ".pef",
        ".srw",
    ]
)
# Folders that systems make beside the user's: thumbnails of Synology and QNAP, archives of macOS, recycle bins.
SYSTEM_FOLDERS = frozenset(
    {"@eadir", "@__thumb", "@tmp", "@recycle", "__macosx", "#recycle", "#snapshot", "$recycle.bin", "lost+found"}
    | {"system volume information"}
)


@dataclass
class Found:
    """The image files below a folder, in an order that does not depend on the file system.

    Names are strings: a `Path` for each of a million files takes a minute.

    Args:
        root: the folder.
        names: of the images, below the folder.
        loops: links that lead back to a folder above them, which were not followed.
        twice: folders that had been read under another name, and that name.
        skipped: what was left out: files of image formats that are not read by suffix, and folders of the system.
    """

    root: Path
    names: list[str] = field(default_factory=list)
    loops: list[Path] = field(default_factory=list)
    twice: list[tuple[Path, Path]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def files(self) -> list[str]:
        """Paths of the images."""
        root = os.path.join(self.root, "")
        return [root + name for name in self.names]

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """What was not read, and why; for the line that tells what a source holds."""
        told = [(str(link), "leads back to a folder above it: not followed") for link in self.loops]
        told += [(str(folder), f"is the same folder as {first}: read once") for folder, first in self.twice]
        for name, count in sorted(self.skipped.items()):
            if name == ".npy":
                told.append((f"{count} .npy", "arrays beside images"))
            elif name in OTHER_FORMATS:
                told.append((f"{count} {name}", "a format that is not read; convert to .png or .jpg"))
            else:
                told.append((name, "a folder of the system"))
        return told


def find_files(root: Path, suffixes: Collection[str]) -> Found:
    """List the files below a folder whose names end with one of ``suffixes``.

    Raises:
        OSError: if a folder cannot be read.
    """
    found = Found(root)
    found.names = list(_walk(root, "", found, {}, suffixes=suffixes))
    found.skipped = Counter({name: count for name, count in found.skipped.items() if not name.startswith(".")})
    return found


def find_images(root: Path) -> Found:
    """List the images below a folder. Where nothing else is an image, two or more ``.npy`` files are, one array each.

    Raises:
        OSError: if a folder cannot be read.
    """
    found = Found(root)
    arrays: list[str] = []
    for name in _walk(root, "", found, {}):
        (arrays if name.lower().endswith(".npy") else found.names).append(name)
    if found.names and arrays:
        found.skipped[".npy"] += len(arrays)
    elif len(arrays) > 1:
        found.names = arrays
    return found


def _walk(
    folder: Path,
    below: str,
    found: Found,
    seen: dict[tuple[int, int], Path],
    above: tuple[tuple[int, int], ...] = (),
    *,
    suffixes: Collection[str] = IMAGE_SUFFIXES | {".npy"},
) -> Iterator[str]:
    """Yield names, sorted, each folder once: a link to a folder above would never end.

    Args:
        folder: that is read.
        below: its name below the root, with a separator at its end.
        found: where what is left out is noted.
        seen: the folders that were read, by device and number.
        above: those that this one lies in.
        suffixes: of the files.
    """
    status = folder.stat()
    this = (status.st_dev, status.st_ino)
    if this in seen:
        if this in above:
            found.loops.append(folder)
        else:
            found.twice.append((folder, seen[this]))
        return
    seen[this] = folder
    with os.scandir(folder) as listed:
        # Links last, so that a folder which is there and linked keeps its own name.
        entries: list[os.DirEntry[str]] = sorted(listed, key=lambda entry: (entry.is_symlink(), entry.name))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            found.loops.append(Path(entry.path))  # a link to itself
            continue
        if is_folder:
            if entry.name.lower() in SYSTEM_FOLDERS:
                found.skipped[entry.name] += 1
                continue
            yield from _walk(
                Path(entry.path), f"{below}{entry.name}{os.sep}", found, seen, (*above, this), suffixes=suffixes
            )
        elif is_file and not entry.name.startswith("__MACOSX"):
            suffix = os.path.splitext(entry.name)[1].lower()
            if suffix in suffixes:
                yield below + entry.name
            elif suffix in OTHER_FORMATS:
                found.skipped[suffix] += 1
