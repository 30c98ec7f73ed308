"""A cache of images that are decoded and resized already: uint8 in a file that is mapped into memory."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from ssl_registry._system.archives import check_archive
from ssl_registry._system.atomic import replacing
from ssl_registry._system.locking import lock_file
from ssl_registry._system.terminal import one_line
from ssl_registry.data.images.encoded import EncodedImages
from ssl_registry.data.sample_set import SampleSet
from ssl_registry.data.samples import Batch
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError

__all__ = ["CachedImages", "cache_source"]

log = logging.getLogger(__name__)

CHECKED = 64  # images of a cache whose bytes are compared with their checksums when it is opened
BATCH = 64  # images written at a time
PART = ".part"
IMAGES, FACTS = "images.u8", "facts.npz"
# What the tables hold, for each image but of the first two: axes and type.
TABLES: dict[str, tuple[tuple[int, ...], type[np.int64]]] = {
    "shape": ((4,), np.int64),  # images, channels, height, width
    "written": ((3,), np.int64),  # size, time and number of the file of images
    "stamps": ((2,), np.int64),  # of what each image was decoded from
    "digests": ((), np.int64),  # checksum of what it was decoded from
    "checks": ((), np.int64),  # checksum of its pixels
}


class CachedImages(SampleSet):
    """Images of a cache as a data set: uint8 [channels, size, size], mapped from the disk, not read into memory.

    Args:
        place: a folder that `cache_source` wrote.
        labels: one an image, as the images' source has them today; None when there are none.
    """

    in_memory = True

    def __init__(self, place: Path, labels: torch.Tensor | None = None) -> None:
        self.place = place
        facts = _read_facts(place)
        self.shape: tuple[int, ...] = tuple(facts["shape"].tolist())
        self._labels = labels
        self._broken: dict[str, str] = json.loads(str(facts["broken"]))
        self._open()

    def _open(self) -> None:
        self.images = np.memmap(self.place / IMAGES, np.uint8, "r", shape=self.shape)

    @property
    def labels(self) -> torch.Tensor | None:
        """Labels [N], or None."""
        return self._labels

    @property
    def broken(self) -> dict[str, str]:
        """Images that could not be read when the cache was made: their names, and why."""
        return self._broken

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return int(self.images.nbytes)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return all images, read into memory, and their labels."""
        return torch.from_numpy(np.array(self.images)), self.labels

    def holds_bytes(self) -> bool:
        """Whether images are uint8: they always are."""
        return True

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return self.shape[1:]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = torch.from_numpy(np.array(self.images[index]))
        return image if self.labels is None else (image, self.labels[index])

    def __getitems__(self, indices: list[int]) -> list[Batch]:
        """Return one entry that holds all ``indices``, as `Samples` does."""
        rows = np.asarray(indices)
        return [Batch(torch.from_numpy(self.images[rows]), None if self.labels is None else self.labels[rows])]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the map behind: pickling it would copy the whole file."""
        return {key: value for key, value in self.__dict__.items() if key != "images"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the file again."""
        self.__dict__.update(state)
        self._open()


def cache_source(source: Source, folder: str | Path, *, workers: int = 0) -> Source:
    """Return a source whose images come from a cache, which is made if it is not there.

    What comes out is what the source itself would give, without reading and decoding. A cache is found by the names,
    size and channels of the images, and it holds as long as their contents do: files of another size or time are read
    again, and if one has changed the cache is made anew. It is written beside its place and renamed, and a second
    process that wants the same waits for the first.

    Args:
        source: of 8-bit images that are decoded on request; any other is returned as it is, with a note.
        folder: where caches lie; each takes images x channels x size x size bytes.
        workers: processes that decode.

    Raises:
        DataError: if the folder cannot be written, or has no room.
    """
    if not isinstance(source.train, EncodedImages) or source.train.pixels.depth != 8:
        note = f"{source.name} needs no cache of 8-bit images: it is not used"
        return replace(source, notes=(*source.notes, note))
    train, test = (
        _cached(part, Path(folder).expanduser(), workers) if isinstance(part, EncodedImages) else part
        for part in (source.train, source.test)
    )
    assert train is not None
    return replace(source, train=train, test=test)


def _cached(images: EncodedImages, folder: Path, workers: int) -> CachedImages:
    place = folder / _key(images)
    stamps = np.array([images.stamp(index) for index in range(len(images))], np.int64)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock_file(place.with_suffix(".lock")):
            if place.is_dir() and _holds(place, images, stamps):
                log.info(f"{len(images)} images from the cache {place}")
            else:
                _build(place, images, stamps, workers)
                log.info(f"{len(images)} images written to the cache {place} ({_size(place):.1f} GiB)")
    except OSError as error:
        raise DataError(f"the cache {place} cannot be written ({error}); give another --cache, or none") from error
    return CachedImages(place, _labels_today(images, CachedImages(place).broken))


def _labels_today(images: EncodedImages, broken: Mapping[str, str]) -> torch.Tensor | None:
    """Return the label of each image in the cache: of a broken one, that of the next, which took its place."""
    if images.labels is None or not broken:
        return images.labels
    whole = np.array([images.name(index) not in broken for index in range(len(images))])
    there = np.flatnonzero(whole)
    taken = there[np.searchsorted(there, np.arange(len(images))) % len(there)]
    return images.labels[torch.from_numpy(taken)]


def _key(images: EncodedImages) -> str:
    key = hashlib.sha256(f"2 {images.size} {images.pixels}".encode())
    for index in range(len(images)):
        key.update(images.name(index).encode(errors="surrogateescape") + b"\0")
    return key.hexdigest()[:24]


def _holds(place: Path, images: EncodedImages, stamps: NDArray[np.int64]) -> bool:
    """Whether a cache is whole and its images are still what they were."""
    try:
        facts, cached = _read_facts(place), CachedImages(place)
    except Exception as error:  # zipfile, numpy and json raise nearly anything for what is damaged: it is made anew
        log.info(f"the cache {place} is damaged ({one_line(error)[:200]}): it is made anew")
        return False
    if len(cached) != len(images) or cached.image_shape != (images.pixels.channels, images.size, images.size):
        return False
    # All bytes are compared where the file is another than the one that was written; else some of them.
    written, rows = _state(place), np.arange(len(cached))
    known = bool((facts["written"] == written).all())
    if known:
        rows = np.linspace(0, len(cached) - 1, min(CHECKED, len(cached))).astype(int)
    if any(_digest(cached.images[row].tobytes()) != facts["checks"][row] for row in rows.tolist()):
        log.info(f"the cache {place} is damaged (other bytes than were written): it is made anew")
        return False
    changed = np.flatnonzero((facts["stamps"] != stamps).any(1))
    if any(_content(images, int(index)) != facts["digests"][index] for index in changed):
        return False
    if len(changed) or not known:
        _write_facts(place, {**facts, "stamps": stamps, "written": written})
    return True


def _read_facts(place: Path) -> dict[str, NDArray[Any]]:
    """Read the tables of a cache; the archive has a checksum of each.

    Raises:
        Exception: if they are damaged, or none of ours.
    """
    check_archive(place / FACTS)
    with np.load(place / FACTS, allow_pickle=False) as tables:
        facts: dict[str, NDArray[Any]] = {name: tables[name] for name in tables.files}
    count = int(facts["shape"][0])
    for name, wanted in TABLES.items():
        shape = wanted[0] if name in ("shape", "written") else (count, *wanted[0])
        if facts[name].shape != shape or facts[name].dtype != wanted[1]:
            raise ValueError(f"{name} is {facts[name].dtype}{facts[name].shape}, expected {wanted[1]}{shape}")
    return facts


def _write_facts(place: Path, facts: dict[str, NDArray[Any]]) -> None:
    with replacing(place / FACTS) as file:
        np.savez(file, **facts)  # type: ignore[arg-type]  # numpy takes a file that is open


def _state(place: Path) -> NDArray[np.int64]:
    """Return size, time and number of the file of images, which change when anything else writes it."""
    found = (place / IMAGES).stat()
    return np.array([found.st_size, found.st_mtime_ns, found.st_ino], np.int64)


def _digest(data: bytes) -> int:
    return zlib.crc32(data)


def _content(images: EncodedImages, index: int) -> int:
    try:
        return _digest(images.encoded(index))
    except Exception:  # as in `EncodedImages.load`: an image that cannot be had is a broken one
        return 0


class _Decoding(Dataset[Any]):
    """Gives each image with the digest of what it was decoded from."""

    def __init__(self, images: EncodedImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, _ = self.images.load(index, self.images.decoded)
        return image, _content(self.images, index)


def _build(place: Path, images: EncodedImages, stamps: NDArray[np.int64], workers: int) -> None:
    from rich.progress import track

    beside = place.with_suffix(PART)
    shutil.rmtree(beside, ignore_errors=True)  # of a process that was ended in the midst of it
    beside.mkdir()
    count = len(images)
    need = count * images.pixels.channels * images.size**2
    if need > (free := shutil.disk_usage(beside).free):
        raise OSError(f"it needs {need / 2**30:.1f} GiB, and {free / 2**30:.1f} are free")
    digests, checks = np.empty(count, np.int64), np.empty(count, np.int64)
    loader = DataLoader(_Decoding(images), batch_size=BATCH, num_workers=workers, generator=torch.Generator())
    bar = track(loader, "writing the cache", disable=not sys.stderr.isatty())
    with (beside / IMAGES).open("wb") as file:
        done = 0
        for batch, some_digests in bar:
            digests[done : done + len(batch)] = some_digests.numpy()
            for row, image in enumerate(batch.numpy(), done):
                data = image.tobytes()
                checks[row] = _digest(data)
                file.write(data)
            done += len(batch)
        file.flush()
        os.fsync(file.fileno())
    facts = {
        "shape": np.array([count, images.pixels.channels, images.size, images.size], np.int64),
        "stamps": stamps,
        "digests": digests,
        "checks": checks,
        "written": _state(beside),
        "broken": np.array(json.dumps(images.broken)),
    }
    _write_facts(beside, facts)
    if place.exists():
        # A process that has the old one mapped keeps it; its name is free now.
        old = place.with_suffix(".old")
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    beside.rename(place)


def _size(place: Path) -> float:
    return (place / IMAGES).stat().st_size / 2**30
