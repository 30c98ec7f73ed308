"""`open_source`: a source from what a user writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from ssl_registry.data.source import UNDERSTOOD, Modality, Source
from ssl_registry.errors import ConfigError, DataError, did_you_mean

__all__ = ["open_source"]


def open_source(
    spec: str,
    *,
    image_size: int | None = None,
    data_root: str | Path | None = None,
    modality: str | None = None,
    holdout: float = 0.2,
    seed: int = 0,
    standardize: bool | tuple[tuple[float, ...], tuple[float, ...]] = True,
) -> Source:
    """Open a data set by what a user writes.

    ``digits`` is scikit-learn's handwritten digits, in every installation. A path decides by what it is: a
    folder holds images, a file holds arrays, ``.tar`` files are shards, ``.parquet`` files are tables; write
    ``./digits`` for a folder of that name. ``hf:NAME`` is a data set of Hugging Face, any other word one of
    torchvision; both must be on the disk already: nothing is downloaded.

    Args:
        spec: ``digits``, a path, shards (see `shards.shards`), ``hf:NAME``, or a torchvision name with or without
            ``torchvision:`` before it.
        image_size: side to which images are resized, in pixels; default: 16 for digits, 224 for files, as
            stored for arrays.
        data_root: where torchvision sets lie; default ``data``.
        kind: ``image``, ``signal`` or ``table``, where an array's shape and type do not tell.
        holdout: share of each class held out as the test part, where the data have labels but no test part of
            their own; 0 for none.
        seed: of that hold-out.
        standardize: whether signals and tables are brought to mean 0 and std 1, by channel or feature, as measured on
            the train part; or the mean and std to subtract and divide by.

    Raises:
        DataError: if there is no such data set, or it cannot be used; it says what was expected.
        ConfigError: if an argument is out of range.

    Example:
        >>> source = open_source("digits")
        >>> source.kind, source.input_shape, len(source.train), len(source.test)
        ('image', (1, 16, 16), 1300, 497)
    """
    _check_arguments(image_size, modality, holdout)
    spec = str(spec)
    if not spec.strip():
        raise DataError(f"the data's name is empty. Data can be: {UNDERSTOOD}")
    path = Path(spec).expanduser()
    splitting: dict[str, Any] = {"holdout": holdout, "seed": seed}
    arranging: dict[str, Any] = {
        "modality": modality,
        "image_size": image_size,
        "standardize": standardize,
        **splitting,
    }
    # Each origin is imported when it is used: scikit-learn and torchvision take a second each.
    if spec.startswith("hf:"):
        from ssl_registry.data.sources.hugging_face import hugging_face

        return hugging_face(spec.removeprefix("hf:"), **arranging)
    if spec.endswith(".parquet"):
        from ssl_registry.data.sources.parquet import parquet

        return parquet(spec, **arranging)
    if is_shards(spec):
        from ssl_registry.data.sources.shards.source import shards

        _only_images(spec, modality)
        return shards(spec, image_size=image_size or 224, **splitting)
    if spec != "digits" and path.is_file():
        from ssl_registry.data.sources.array_files import array_file

        return array_file(path, **arranging)
    _only_images(spec, modality)
    if spec == "digits":
        from ssl_registry.data.sources.digits import digits

        return digits(image_size or 16)
    if path.is_dir():
        from ssl_registry.data.sources.folder import folder

        return folder(path, image_size=image_size or 224, **splitting)

    from ssl_registry.data.sources.torchvision_sets import set_names, torchvision_set

    prefixed = spec.startswith("torchvision:")
    name = spec.removeprefix("torchvision:")
    if prefixed or name in set_names():
        root = Path(data_root or "data").expanduser()
        return torchvision_set(name, root=root, image_size=image_size, **splitting)
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


def _only_images(spec: str, modality: str | None) -> None:
    if modality not in (None, "image"):
        raise ConfigError(
            f"modality={modality!r} is for array files and tables (.npz, .npy, .pt, .csv, .parquet, hf:NAME); {spec!r} "
            "holds images, leave modality out"
        )


def _check_arguments(image_size: int | None, modality: str | None, holdout: float) -> None:
    if image_size is not None and (isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1):
        raise ConfigError(f"image_size={image_size!r} must be a whole number of pixels, at least 1")
    if modality is not None and modality not in get_args(Modality):
        raise ConfigError(
            f"modality={modality!r} is not known; use {', '.join(map(repr, get_args(Modality)))}, or leave it out"
        )
    if not 0 <= holdout < 1:
        raise ConfigError(f"holdout={holdout!r} must be a share, at least 0 and below 1")
