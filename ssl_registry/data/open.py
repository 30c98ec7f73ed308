"""`open_source`: a source from what a user writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import UNDERSTOOD, Source
from ssl_registry.errors import DataError, did_you_mean

__all__ = ["open_source"]


def open_source(spec: str, options: DataOptions | None = None, **changes: Any) -> Source:
    """Open a data set by what a user writes.

    ``digits`` is scikit-learn's handwritten digits, in every installation. A path decides by what it is: a
    folder holds images, a file holds arrays, ``.tar`` files are shards, ``.parquet`` files are tables; write
    ``./digits`` for a folder of that name. ``hf:NAME`` is a data set of Hugging Face, any other word one of
    torchvision; both must be on the disk already: nothing is downloaded.

    Args:
        spec: ``digits``, a path, shards (see `shards.shards`), ``hf:NAME``, or a torchvision name with or without
            ``torchvision:`` before it.
        options: how it is read; default: the defaults of `DataOptions`.
        **changes: fields of `DataOptions` that differ from ``options``.

    Raises:
        DataError: if there is no such data set, or it cannot be used; it says what was expected.
        ConfigError: if an option is unknown or out of range.

    Example:
        >>> source = open_source("digits", image_size=12)
        >>> source.modality, source.input_shape, len(source.train), len(source.test)
        ('image', (1, 12, 12), 1300, 497)
    """
    options = DataOptions.of(options, **changes)
    spec = str(spec)
    if not spec.strip():
        raise DataError(f"the data's name is empty. Data can be: {UNDERSTOOD}")
    path = Path(spec).expanduser()
    # Each origin is imported when it is used: scikit-learn and torchvision take a second each.
    if spec.startswith("hf:"):
        from ssl_registry.data.sources.hugging_face import hugging_face

        return hugging_face(spec.removeprefix("hf:"), options)
    if spec.endswith(".parquet"):
        from ssl_registry.data.sources.parquet import parquet

        return parquet(spec, options)
    if is_shards(spec):
        from ssl_registry.data.sources.shards.source import shards

        return shards(spec, options)
    if spec != "digits" and path.is_file():
        from ssl_registry.data.sources.array_files import array_file

        return array_file(spec, options)
    if spec == "digits":
        from ssl_registry.data.sources.digits import digits

        return digits(spec, options)
    if path.is_dir():
        from ssl_registry.data.sources.folder import folder

        return folder(spec, options)

    from ssl_registry.data.sources.torchvision_sets import set_names, torchvision_set

    name = spec.removeprefix("torchvision:")
    if name != spec or name in set_names():
        return torchvision_set(name, options)
    if path.suffix or len(path.parts) > 1:
        raise DataError(f"there is no file or folder {spec!r} in {Path.cwd()}. Data can be: {UNDERSTOOD}")
    near = did_you_mean(spec, ["digits", *set_names()])
    raise DataError(
        f"there is no data {spec!r}: it is neither a path nor a known name.{near} Data can be: {UNDERSTOOD}"
    )


def is_shards(spec: str) -> bool:
    """Whether what a user writes means shards.

    >>> is_shards("photos/{000..099}.tar"), is_shards("pipe:cat a.tar"), is_shards("photos")
    (True, True, False)
    """
    return spec.startswith(("http://", "https://", "pipe:", "s3:", "gs:")) or spec.endswith((".tar", ".tar.gz", ".tgz"))
