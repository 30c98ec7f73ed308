"""`ShardImages`: images in tar files, read from front to back and decoded when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.images.encoded import EncodedImages, UnreachableError
from ssl_registry.data.images.pixels import Pixels
from ssl_registry.data.sources.shards.index import SUFFIXES, Shard, refuse_traversal, webdataset
from ssl_registry.data.sources.shards.order import ShardSampler

__all__ = ["BLOCK", "ShardImages", "ShardReader"]

BLOCK = 1024  # samples of a shard that lie in memory together, and are shuffled among themselves
OPEN = 16  # shards that a process keeps open at a time; more than the lanes of `shard_order`


class ShardReader:
    """Gives the images of shards by number, and is fast where the numbers rise.

    A shard is a stream: to reach a sample, all before it are passed over. So a block of samples is kept, a request
    behind it opens the shard again, and a process that got its reader by a fork opens its own streams.

    Args:
        shards: what there is.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = list(shards)
        self._process = 0
        self._open: dict[int, _Stream] = {}

    def read(self, shard: int, position: int) -> bytes:
        """Return the bytes of one image.

        Raises:
            ValueError: if the sample holds no image.
            UnreachableError: if the shard cannot be read.
        """
        if self._process != os.getpid():
            self._process, self._open = os.getpid(), {}
        stream = self._open.pop(shard, None)
        if stream is None or position < stream.start:
            stream = _Stream(self.shards[shard])
        self._open[shard] = stream  # the one asked for last is behind all others
        while len(self._open) > OPEN:
            self._open.pop(next(iter(self._open))).close()
        image = stream.at(position)
        if image is None:
            raise ValueError(f"the sample holds no image ({', '.join(sorted(SUFFIXES))})")
        return image

    def __getstate__(self) -> dict[str, Any]:
        """Leave open streams behind."""
        return {"shards": self.shards, "_process": 0, "_open": {}}


class _Stream:
    """One open shard, and the block of it that lies in memory."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.start = 0
        self._block: list[bytes | None] = []
        self._samples: Iterator[dict[str, Any]] | None = None
        self._file: Any = None

    def at(self, position: int) -> bytes | None:
        """Return an image of this or a later block."""
        if self._samples is None or position >= self.start + len(self._block):
            try:
                self._advance(position // BLOCK * BLOCK)
            except UnreachableError:
                self.close()  # once more, from the beginning: a connection may have broken
                self._advance(position // BLOCK * BLOCK)
        return self._block[position - self.start]

    def _advance(self, start: int) -> None:
        try:
            if self._samples is None:
                self._samples, self.start, self._block = self._begin(), 0, []
            for _ in range(start - self.start - len(self._block)):
                next(self._samples)
            count = min(BLOCK, self.shard.count - start)
            self._block = [_image(next(self._samples)) for _ in range(count)]
        except Exception as error:  # tarfile, the opened stream and webdataset raise what they like
            raise UnreachableError(
                f"{self.shard.url} cannot be read any further ({type(error).__name__}: {error}), and had "
                f"{self.shard.count} samples when it was looked through; resume when it can be had again"
            ) from error
        self.start = start

    def _begin(self) -> Iterator[dict[str, Any]]:
        library, url = webdataset(), self.shard.url

        def safe(name: str) -> bool:
            refuse_traversal(name, url)
            return True

        self._file = library.gopen(url)
        opened = [{"url": url, "stream": self._file}]
        members = library.tariterators.tar_file_expander(opened, select_files=safe)
        samples: Iterator[dict[str, Any]] = library.tariterators.group_by_keys(members)
        return samples

    def close(self) -> None:
        """Let go of the file, or the process behind it."""
        self._samples, self._block = None, []
        if self._file is not None:
            self._file.ignore_errors = True  # a command that is not read to its end fails, and may
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        self.close()


def _image(sample: dict[str, Any]) -> bytes | None:
    return next((data for name, data in sample.items() if name.rpartition(".")[2] in SUFFIXES), None)


class ShardImages(EncodedImages):
    """Images in shards as a data set; `shard_order` draws them in an order that streams.

    Args:
        shards: tar files.
        chosen: numbers of the samples that belong to this part, ascending, counted over all shards.
        labels, size, pixels: see `EncodedImages`.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        chosen: NDArray[np.int64],
        labels: Sequence[int] | None,
        *,
        size: int,
        pixels: Pixels,
    ) -> None:
        super().__init__(len(chosen), labels, size=size, pixels=pixels)
        self._reader = ShardReader(shards)
        starts = np.cumsum([0, *(shard.count for shard in shards)])
        self.shard = np.searchsorted(starts, chosen, side="right") - 1  # of each sample
        self.position = chosen - starts[self.shard]  # in its shard
        self._starts = starts
        self.block = self.position // BLOCK

    def make_sampler(
        self, *, batch_size: int, num_workers: int, seed: int, rank: int = 0, world_size: int = 1, drop_last: bool
    ) -> tuple[ShardSampler, int]:
        """Make the sampler of an order that streams; a number of workers that divides its lanes reads each once."""
        sampler = ShardSampler(
            self.shard,
            self.block,
            batch_size=batch_size,
            seed=seed,
            rank=rank,
            world_size=world_size,
            drop_last=drop_last,
        )
        return sampler, max((n for n in range(num_workers + 1) if n == 0 or sampler.lanes % n == 0), default=0)

    def encoded(self, index: int) -> bytes:
        """Read one image; fast where the numbers rise."""
        return self._reader.read(int(self.shard[index]), int(self.position[index]))

    def stamp(self, index: int) -> tuple[int, int]:
        """Return size and time of the shard; an address has neither, and counts as unchanged."""
        state = self._reader.shards[self.shard[index]].state
        return (state[0], state[1]) if state else (0, 0)

    def row(self, index: int) -> int:
        """Return its number, counted over all shards."""
        return int(self._starts[self.shard[index]] + self.position[index])

    def name(self, index: int) -> str:
        """Return the shard, and the sample's number in it."""
        return f"{self._reader.shards[self.shard[index]].url}, sample {self.position[index]}"
