"""`in_color`: grey images for a network that takes RGB."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from torch import Tensor

from ssl_registry.data.images.encoded import EncodedImages
from ssl_registry.data.images.pixels import Pixels
from ssl_registry.data.sample_set import SampleSet, content_hash
from ssl_registry.data.source import Source

__all__ = ["in_color"]


def in_color(source: Source) -> Source:
    """Return a source of grey images with their one channel three times, as for a photograph without color.

    Mean and std stay: a network brings its own.
    """
    train, test = (None if part is None else _repeated(part) for part in (source.train, source.test))
    assert train is not None
    note = "grey images: their channel is repeated for a network that takes RGB"
    mean, std = (None if numbers is None else numbers * 3 for numbers in (source.mean, source.std))
    shape = (3, *source.input_shape[1:])
    return replace(source, train=train, test=test, input_shape=shape, mean=mean, std=std, notes=(*source.notes, note))


def _repeated(part: SampleSet) -> SampleSet:
    if not isinstance(part, EncodedImages):
        return _Repeated(part)
    decoded_in_color = copy.copy(part)  # the account of broken files stays the same
    decoded_in_color.pixels = Pixels(3, part.pixels.depth)
    return decoded_in_color


class _Repeated(SampleSet):
    """Grey images of any set, each channel three times."""

    def __init__(self, grey: SampleSet) -> None:
        self.grey, self.decodes = grey, grey.decodes

    def __len__(self) -> int:
        return len(self.grey)

    def __getitem__(self, index: int) -> Any:
        sample = self.grey[index]
        if isinstance(sample, Tensor):
            return sample.expand(3, -1, -1)
        x, *rest = sample
        return (x.expand(3, -1, -1), *rest)

    @property
    def labels(self) -> Tensor | None:
        return self.grey.labels

    @property
    def broken(self) -> dict[str, str]:
        return self.grey.broken

    def name(self, index: int) -> str | None:
        return self.grey.name(index)

    def row(self, index: int) -> int | None:
        return self.grey.row(index)

    def holds_bytes(self) -> bool:
        return self.grey.holds_bytes()

    def fingerprint(self) -> str | None:
        found = self.grey.fingerprint()
        return None if found is None else content_hash(["in color", found])
