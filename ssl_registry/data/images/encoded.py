"""`EncodedImages`: images that are decoded when they are asked for, and what happens with broken ones."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ssl_registry._system.terminal import in_unicode
from ssl_registry.data.images.decode import decode
from ssl_registry.data.images.pixels import Pixels
from ssl_registry.data.images.why_broken import why_broken
from ssl_registry.data.sample_set import SampleSet, content_hash
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError

__all__ = ["EncodedImages", "UnreachableError", "broken_samples", "tell_broken"]

T = TypeVar("T")


class UnreachableError(DataError):
    """Where the images come from cannot be reached: not one image is broken, all that follow are out of reach."""


class EncodedImages(SampleSet, ABC):
    """Encoded images (the bytes of a JPEG, a PNG, ...) that become uint8 [channels, size, size] on request.

    An image that cannot be read never ends an epoch: the next one that can takes its place, with its own label. Which
    one that is depends on the data alone, so batches stay full and a resumed run sees the same. All processes that
    load share the account of what was broken.

    Args:
        count: how many.
        labels: one an image; None when there are none.
        size: side in pixels of what ``dataset[index]`` gives.
        pixels: what the images of this set have in common: channels and depth.
    """

    decodes = True

    def __init__(self, count: int, labels: Sequence[int] | Tensor | None, *, size: int, pixels: Pixels) -> None:
        self.count = count
        self._labels = None if labels is None else torch.as_tensor(labels, dtype=torch.int64)
        self.size = size
        self.pixels = pixels
        # In shared memory: workers find the broken ones, the main process reports them.
        self._broken = torch.zeros(count, dtype=torch.bool)
        self._broken.share_memory_()  # type: ignore[no-untyped-call]  # torch's own
        self._reasons: dict[int, str] = {}

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """Return the bytes of one image as they are stored.

        Raises:
            UnreachableError: if none can be had any more.
            Exception: any other, when this one cannot be had; it then counts as broken.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what tells a person which image this is."""

    def stamp(self, index: int) -> tuple[int, int]:
        """Return two numbers that are others when the image is another; cheap, and not certain.

        A cache compares contents where they differ.
        """
        try:
            data = self.encoded(index)
        except Exception:  # as in `load`
            return (0, 0)
        return len(data), zlib.crc32(data)

    @property
    def labels(self) -> Tensor | None:
        """Labels [N], or None."""
        return self._labels

    def holds_bytes(self) -> bool:
        """Whether what they are decoded to is uint8."""
        return self.pixels.depth == 8

    def fingerprint(self) -> str:
        """Return a hash of names and stamps (of files: path, size and time of change), and of what is made of them."""
        names = [f"{self.name(index)}\0{self.stamp(index)}" for index in range(len(self))]
        return content_hash([*names, f"{self.size} {self.pixels!r}", self.labels])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        image, label = self.load(index, self.decoded)
        return image if label is None else (image, label)

    def decoded(self, data: bytes) -> Tensor:
        """Decode as ``dataset[index]`` does: the centred square at this set's size, channels and depth."""
        return decode(data, size=self.size, pixels=self.pixels)

    def load(self, index: int, decode: Callable[[bytes], T]) -> tuple[T, Tensor | None]:
        """Apply a decoder of one's own to an image, or to the next one that it can decode.

        Args:
            index: of the image.
            decode: maps its bytes to anything; where it raises, the image counts as broken.

        Returns:
            What the decoder gave, and the label of the image that it came from: int64, or None.

        Raises:
            DataError: if no image of the whole set can be decoded; the last failure is its cause.
            UnreachableError: if the images cannot be had at all.
        """
        if not -self.count <= index < self.count:
            raise IndexError(f"there are {self.count} images, not one at {index}")
        failure: Exception | None = None
        for step in range(self.count):
            chosen = (index + step) % self.count
            if self._broken[chosen]:
                continue
            try:
                image = decode(self.encoded(chosen))
            except UnreachableError:
                raise
            except Exception as error:  # decoders raise nearly anything for a broken file; `broken` finds out why
                self._broken[chosen] = True
                failure = error
                continue
            return image, None if self.labels is None else self.labels[chosen]
        raise DataError(
            f"none of the {self.count} images can be read, from {self.name(0)} on ({self._why(0)}); are they images?"
        ) from failure

    @property
    def broken(self) -> dict[str, str]:
        """The images that could not be read so far, by any process: their names, and why."""
        indices = self._broken.nonzero().flatten().tolist()
        for index in indices:
            if index not in self._reasons:
                self._reasons[index] = self._why(index)
        return {self.name(index): self._reasons[index] for index in indices}

    def _why(self, index: int) -> str:
        data: bytes | None = None
        try:
            data = self.encoded(index)
            self.decoded(data)
        except Exception as error:  # as in `load`
            return why_broken(error, data)
        return "could not be read when it was asked for, and can be now"


def tell_broken(broken: Mapping[str, str], path: object) -> str:
    """Return the line that tells of images that could not be read.

    Args:
        broken: names and reasons.
        path: of the file that has all of them.

    >>> tell_broken({"a.jpg": "the file is empty"}, "broken.txt")
    '1 image could not be read and another took its place: a.jpg (the file is empty); see broken.txt'
    """
    name, why = next(iter(broken.items()))
    count = len(broken)
    one = f"{count:,} image{'s' if count > 1 else ''} could not be read and "
    others = "others took their places: first" if count > 1 else "another took its place:"
    return f"{one}{others} {in_unicode(name)} ({in_unicode(why)}); see {path}"


def broken_samples(source: Source) -> dict[str, str]:
    """Return the samples of a source that could not be read so far: their names, and why.

    Empty for sources that lie in memory.
    """
    found: dict[str, str] = {}
    for part in (source.train, source.test):
        found |= {} if part is None else part.broken
    return found
