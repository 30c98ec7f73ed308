"""A cache of images that are decoded and resized already: uint8 in a file that is mapped into memory."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from ssl_registry._system.locking import lock_file
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


class CachedImages(SampleSet):
    """Images of a cache as a data set: uint8 [channels, size, size], mapped from the disk, not read into memory.

    Args:
        place: a folder that `cache_source` wrote.
    """

    in_memory = True

    def __init__(self, place: Path) -> None:
        self.place = place
        self.facts: dict[str, Any] = json.loads((place / "facts.json").read_text(encoding="utf-8"))
        labels = place / "labels.npy"
        self._labels = torch.from_numpy(np.load(labels)) if labels.exists() else None
        self._open()

    def _open(self) -> None:
        self.images = np.memmap(self.place / "images.u8", np.uint8, "r", shape=tuple(self.facts["shape"]))

    @property
    def labels(self) -> torch.Tensor | None:
        """Labels [N], or None."""
        return self._labels

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
        return tuple(self.facts["shape"][1:])

    @property
    def broken(self) -> dict[str, str]:
        """The images that could not be read when the cache was made: their names, and why."""
        broken: dict[str, str] = self.facts["broken"]
        return broken

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
    return CachedImages(place)


def _key(images: EncodedImages) -> str:
    key = hashlib.sha256(f"1 {images.size} {images.pixels}".encode())
    for index in range(len(images)):
        key.update(images.name(index).encode() + b"\0")
    return key.hexdigest()[:24]


def _holds(place: Path, images: EncodedImages, stamps: NDArray[np.int64]) -> bool:
    """Whether a cache is whole and its images are still what they were."""
    try:
        cached = CachedImages(place)
        facts = cached.facts
        known, digests = np.load(place / "stamps.npy"), np.load(place / "digests.npy")
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if len(cached) != len(images) or cached.image_shape != (images.pixels.channels, images.size, images.size):
        return False
    rows = np.linspace(0, len(cached) - 1, min(CHECKED, len(cached))).astype(int)
    if any(_digest(cached.images[row].tobytes()) != facts["checks"][row] for row in rows.tolist()):
        return False
    changed = np.flatnonzero((known != stamps).any(1))
    if any(_content(images, int(index)) != digests[index] for index in changed):
        return False
    if len(changed):
        np.save(place / "stamps.npy", stamps)
    return True


def _digest(data: bytes) -> int:
    return zlib.crc32(data)


def _content(images: EncodedImages, index: int) -> int:
    try:
        return _digest(images.encoded(index))
    except Exception:  # as in `EncodedImages.load`: an image that cannot be had is a broken one
        return 0


class _Decoding(Dataset[Any]):
    """Gives each image with its label and the digest of what it was decoded from."""

    def __init__(self, images: EncodedImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        image, label = self.images.load(index, self.images.decoded)
        return image, -1 if label is None else int(label), _content(self.images, index)


def _build(place: Path, images: EncodedImages, stamps: NDArray[np.int64], workers: int) -> None:
    from rich.progress import track

    beside = place.with_suffix(PART)
    shutil.rmtree(beside, ignore_errors=True)  # of a process that was ended in the midst of it
    beside.mkdir()
    count = len(images)
    need = count * images.pixels.channels * images.size**2
    if need > (free := shutil.disk_usage(beside).free):
        raise OSError(f"it needs {need / 2**30:.1f} GiB, and {free / 2**30:.1f} are free")
    labels, digests, checks = np.empty(count, np.int64), np.empty(count, np.int64), []
    loader = DataLoader(_Decoding(images), batch_size=BATCH, num_workers=workers, generator=torch.Generator())
    bar = track(loader, "writing the cache", disable=not sys.stderr.isatty())
    with (beside / "images.u8").open("wb") as file:
        done = 0
        for batch, some_labels, some_digests in bar:
            rows = slice(done, done + len(batch))
            labels[rows], digests[rows] = some_labels.numpy(), some_digests.numpy()
            for image in batch.numpy():
                data = image.tobytes()
                checks.append(_digest(data))
                file.write(data)
            done += len(batch)
        file.flush()
        os.fsync(file.fileno())
    np.save(beside / "stamps.npy", stamps)
    np.save(beside / "digests.npy", digests)
    if images.labels is not None:
        np.save(beside / "labels.npy", labels)
    shape = [count, images.pixels.channels, images.size, images.size]
    facts = {"shape": shape, "checks": checks, "broken": images.broken}
    (beside / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    if place.exists():
        # A process that has the old one mapped keeps it; its name is free now.
        old = place.with_suffix(".old")
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    beside.rename(place)


def _size(place: Path) -> float:
    return (place / "images.u8").stat().st_size / 2**30
