"""Where samples come from, and how they reach a trainer.

What lives where:

- `source`: `Source`, what a data set is to the rest of the project. `options`: `DataOptions`, what it is opened with.
  `open`: `open_source`, which makes a source from what a user writes.
- `parts`: which part a name means, and `columns`: what a column is by its name; the same for every kind of source.
  `decisions`: the one line that tells what was decided.
- `sources/`: one file for each kind of source.
- `arrays/`: what arrays and tables share: how they become a `Source`; which is an image, a signal, a table; labels;
  how columns of words, dates and gaps become features.
- `images/`: what images share: decoding on request, broken files, channels and depth, the cache.
- `loading/`: batches in an order that is a pure function of seed, epoch, rank and world size, and that a checkpoint can
  continue in the middle of an epoch; `SSLDataModule`, a source for Lightning's Trainer.

Every name below is imported when it is first used: the command line reads `options` without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "DataOptions": "ssl_registry.data.options",
    "EncodedImages": "ssl_registry.data.images.encoded",
    "Part": "ssl_registry.data.arrays.memory",
    "SSLDataModule": "ssl_registry.data.loading.datamodule",
    "SampleSet": "ssl_registry.data.sample_set",
    "Samples": "ssl_registry.data.samples",
    "Source": "ssl_registry.data.source",
    "SourceKind": "ssl_registry.data.kinds",
    "as_sample_set": "ssl_registry.data.sample_set",
    "broken_samples": "ssl_registry.data.images.encoded",
    "cache_source": "ssl_registry.data.images.cache",
    "open_source": "ssl_registry.data.open",
    "source_in_memory": "ssl_registry.data.arrays.memory",
}

__all__ = [
    "DataOptions",
    "EncodedImages",
    "Part",
    "SSLDataModule",
    "SampleSet",
    "Samples",
    "Source",
    "SourceKind",
    "as_sample_set",
    "broken_samples",
    "cache_source",
    "open_source",
    "source_in_memory",
]

if TYPE_CHECKING:
    from ssl_registry.data.arrays.memory import Part, source_in_memory
    from ssl_registry.data.images.cache import cache_source
    from ssl_registry.data.images.encoded import EncodedImages, broken_samples
    from ssl_registry.data.kinds import SourceKind
    from ssl_registry.data.loading.datamodule import SSLDataModule
    from ssl_registry.data.open import open_source
    from ssl_registry.data.options import DataOptions
    from ssl_registry.data.sample_set import SampleSet, as_sample_set
    from ssl_registry.data.samples import Samples
    from ssl_registry.data.source import Source


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
