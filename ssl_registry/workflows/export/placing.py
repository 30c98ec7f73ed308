"""Putting an export into its folder, where only files that an export wrote are replaced or removed.

A folder of the Hugging Face hub holds more than the export: ``.git``, notes, a card that somebody edited. So an export
leaves a list of its files with their checksums, ``.export.json``; what is not in it, or is no longer what it says, is
the user's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_registry._system.atomic import write_beside
from ssl_registry._system.plain import first_problem
from ssl_registry._system.small_files import read_json
from ssl_registry.errors import ConfigError, SSLRegistryError

__all__ = ["Manifest", "replaced_export"]

MANIFEST = ".export.json"


class Manifest(BaseModel):
    """What an export wrote.

    Args:
        files: checksums by path below the folder. There are two of a file while it is being replaced.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    files: dict[str, tuple[str, ...]] = {}

    @classmethod
    def of(cls, folder: Path) -> Manifest:
        """Return that of all files in a folder."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls(files={path.relative_to(folder).as_posix(): (_checksum(path),) for path in paths})

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Return the one that an earlier export left; None where there is none.

        Raises:
            ConfigError: if it is damaged, or names files elsewhere.
        """
        path = folder / MANIFEST
        if not path.exists():
            return None
        try:
            found = cls.model_validate(read_json(path))
        except ValidationError as error:
            raise ConfigError(f"{path} is damaged: {first_problem(error)}; give another --out") from None
        for name in found.files:
            pure = PurePosixPath(name)
            inside = (folder / pure).parent.resolve().is_relative_to(folder.resolve())
            if pure.is_absolute() or ".." in pure.parts or not inside:
                raise ConfigError(f"{path} is damaged: {name!r} is no file of the export; give another --out")
        return found

    def write(self, folder: Path) -> None:
        """Leave it in the folder."""
        write_beside(folder / MANIFEST, json.dumps(self.model_dump(), indent=2))


@contextmanager
def replaced_export(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; its files take their places in ``folder`` when the block ends, if it ends well.

    A new folder appears as a whole. In an earlier export's, each file is replaced as a whole; what is there beside them
    stays. A link to a folder is followed.

    Args:
        folder: of the export.

    Raises:
        ConfigError: before the block, if ``folder`` holds what no export wrote and an earlier export is not in it, or
            one of its files has been changed since; behind it, if a new file would replace one that no export wrote.
        SSLRegistryError: if it cannot be written.
    """
    try:
        place = folder.resolve(strict=folder.is_symlink())
        before = _check(folder, place)
        beside = place.with_name(f"{place.name}.{os.getpid()}.part")
        try:
            beside.mkdir(parents=True)
            yield beside
            after = Manifest.of(beside)
            after.write(beside)
            if before is None:
                beside.replace(place)  # also onto a folder that is empty
            else:
                _replace(place, beside, before, after)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise SSLRegistryError(f"{folder} cannot be written: {error.strerror or error}") from error


def _check(folder: Path, place: Path) -> Manifest | None:
    """Return what an earlier export wrote; None for a place that is free."""
    if place.exists() and not place.is_dir():
        raise ConfigError(f"{folder} is a file; --out takes a folder")
    if not place.exists() or not any(place.iterdir()):
        return None
    found = Manifest.read(place)
    if found is None:
        raise ConfigError(f"{folder} holds files that no export wrote, and is left alone; give another --out")
    for name, checksums in found.files.items():
        path = place / name
        if os.path.lexists(path) and (not path.is_file() or _checksum(path) not in checksums):
            raise ConfigError(
                f"{path} is not what was exported: somebody changed it, and it is left alone; move it, or give another "
                "--out"
            )
    return found


def _replace(place: Path, beside: Path, before: Manifest, after: Manifest) -> None:
    strangers = [name for name in after.files if name not in before.files and os.path.lexists(place / name)]
    if strangers:
        raise ConfigError(f"{place / strangers[0]} was not written by an export, and is left alone; give another --out")
    # Stopped in the midst of it, the folder is still known: either content of a file is the export's.
    names = {*before.files, *after.files}
    Manifest(files={name: (*before.files.get(name, ()), *after.files.get(name, ())) for name in names}).write(place)
    for name in after.files:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (beside / name).replace(place / name)
    for name in before.files.keys() - after.files.keys():
        (place / name).unlink(missing_ok=True)
    after.write(place)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
