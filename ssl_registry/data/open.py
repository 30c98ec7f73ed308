"""`open_source`: a source from what a user writes."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from torch.utils.data import Subset

from ssl_registry.data.options import DataOptions
from ssl_registry.data.sample_set import SampleSet, as_sample_set
from ssl_registry.data.source import Source
from ssl_registry.data.sources import SOURCES
from ssl_registry.errors import DataError, PluginError, SSLRegistryError

__all__ = ["GIVEN", "open_source"]

log = logging.getLogger(__name__)

# How a run records that Python gave it a `Source`, which no name can open again.
GIVEN = "python:"


def open_source(spec: str, options: DataOptions | None = None, **changes: Any) -> Source:
    """Open a data set by what a user writes.

    ``digits`` is scikit-learn's handwritten digits, in every installation, ``scattered-digits`` the same at random
    places, sizes and angles among clutter. A path decides by what it is: a folder holds images, a file holds arrays,
    ``.tar`` files are shards, ``.parquet`` files are tables; write ``./digits`` for a folder of that name. ``hf:NAME``
    is a data set of Hugging Face, any other word one of torchvision; both must be on the disk already: nothing is
    downloaded. A kind's name and a colon before all of it chooses that kind. Plugins add kinds (see `SourceKind`).

    Args:
        spec: what the user writes.
        options: how it is read; default: the defaults of `DataOptions`.
        **changes: fields of `DataOptions` that differ from ``options``.

    Raises:
        DataError: if there is no such data set, or it cannot be used; it says what was expected.
        ConfigError: if an option is unknown or out of range.
        PluginError: if a plugin's kind fails.

    Example:
        >>> source = open_source("digits", image_size=12)
        >>> source.modality, source.input_shape, len(source.train), len(source.test)
        ('image', (1, 12, 12), 1300, 497)
    """
    options = DataOptions.of(options, **changes)
    if str(spec).startswith(GIVEN):
        raise DataError(
            f"{spec.removeprefix(GIVEN)!r} was a Source that Python gave, which no name can open again; give it again "
            "from Python: data=source"
        )
    kind, rest = SOURCES.find(str(spec))
    options.check_taken(rest or kind.name, kind.takes)
    if kind.name in SOURCES.own:
        source = kind.open(rest, options)
        if source.decided:
            log.info(f"{source.name}: {source.decided}")
        return _limited(source, options.max_samples)
    try:
        source = kind.open(rest, options)
    except SSLRegistryError:
        raise
    except Exception as error:  # of a plugin: its user must hear whose mistake it is
        raise PluginError(
            f"the plugin for {kind.name!r} fails to open {rest!r} ({type(error).__name__}: {error}); tell its author"
        ) from error
    if not isinstance(source, Source):
        raise PluginError(f"the plugin for {kind.name!r} gives a {type(source).__name__}, no Source; tell its author")
    return _limited(source, options.max_samples)


def _limited(source: Source, most: int | None) -> Source:
    """Return a source with at most so many samples of each part, evenly spaced: files of one class lie together."""
    if most is None:
        return source

    def chosen(part: SampleSet) -> SampleSet:
        count = min(most, len(part))
        return as_sample_set(Subset(part, [index * len(part) // count for index in range(count)]))

    test = None if source.test is None else chosen(source.test)
    return replace(source, train=chosen(source.train), test=test)
