"""Zip archives that torch and numpy wrote: whether every byte is the one that was written."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["check_archive"]


def check_archive(path: Path) -> None:
    """Compare every entry of an archive with its checksum, which torch writes and does not read.

    Entries must be stored as they are, as torch and numpy do: so what is read is never larger than the file.

    Raises:
        Exception: whatever `zipfile` raises for a file that is damaged or none, saying what is wrong.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise zipfile.BadZipFile("it has compressed entries, which are not written here")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise zipfile.BadZipFile("its entries are larger than the file")
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {name} is another one")
