"""A source of shards: tar files of images in WebDataset's layout, local, over http, or through a command's pipe."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from ssl_registry._system.optional import require
from ssl_registry.data.arrays.labels import encode_labels, held_out_note, stratified_holdout
from ssl_registry.data.images.inspect_images import PROBES, probe
from ssl_registry.data.images.listing import by_part
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.data.sources.shards.images import ShardImages, ShardReader
from ssl_registry.data.sources.shards.index import Shard, index_shard, is_remote
from ssl_registry.data.sources.shards.order import lanes_for
from ssl_registry.errors import DataError

__all__ = ["shards"]

MOST_SHARDS = 100_000
RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?\}")
INNERMOST = re.compile(r"\{([^{}]*)\}")
LONGEST_NUMBER = 18  # digits
FORMS = (
    "'shards/*.tar', 'shards/{000..099}.tar', 'https://host/{000..099}.tar', or a command that writes one to its "
    "output, 'pipe:aws s3 cp s3://bucket/{000..099}.tar -'"
)


def shards(spec: str, options: DataOptions) -> Source:
    """Open shards: ``.tar`` files in which ``NAME.jpg`` (or another image) and perhaps ``NAME.cls`` lie side by side.

    Each shard is looked through once, for the number of its samples and their labels, and that is remembered; of local
    shards only headers are read. Local ones that are called train... and test... (or val...) are the parts.

    Args:
        spec: paths or addresses, with ``*`` for local ones and ``{000..099}`` for all.
        options: how they are read; ``image_size`` is the side of the centred square.

    Raises:
        DataError: if there is no such shard, or one cannot be read.
        MissingExtraError: if webdataset is not installed.
    """
    options.require_images(spec)
    image_size = options.image_size or 224
    train, test = (_indexed(urls) for urls in _expand(spec))
    found, count = train + test, sum(shard.count for shard in train)
    if not count:
        raise DataError(f"{spec} holds no samples; expected images as NAME.jpg in a .tar")
    notes = [_advice(len(train))]
    codes, classes = _labels(found, spec, notes)
    kept, held = np.arange(count), count + np.arange(sum(shard.count for shard in test))
    if codes is not None and not test:
        kept, held = stratified_holdout(codes, options.holdout, options.seed)
        if len(held):
            notes.append(held_out_note(len(held), count, options.seed))
    reader = ShardReader(found)
    pixels, (mean, std) = probe(lambda index: reader.read(0, index), min(found[0].count, PROBES), found[0].url)

    def part(chosen: NDArray[np.int64]) -> ShardImages:
        labels = None if codes is None else codes[chosen].tolist()
        return ShardImages(found, chosen, labels, size=image_size, pixels=pixels)

    return Source(
        name=_name(spec),
        modality="image",
        input_shape=(pixels.channels, image_size, image_size),
        train=part(kept),
        test=part(held) if len(held) else None,
        classes=classes,
        mean=mean,
        std=std,
        notes=tuple(notes),
    )


def _indexed(urls: list[str]) -> list[Shard]:
    bar = track(urls, "looking through the shards", disable=not sys.stderr.isatty(), transient=True)
    return [shard for url in bar if (shard := index_shard(url)).count]


def _expand(spec: str) -> tuple[list[str], list[str]]:
    """Return the addresses of the train and of the test part."""
    if spec.startswith(("s3:", "gs:")):
        raise DataError(f"{spec} is read through a command: --data 'pipe:aws s3 cp {spec} -'")
    expand = require("braceexpand", "webdataset", "a source of shards (.tar)").braceexpand
    if _most_expanded(spec) > MOST_SHARDS:
        raise DataError(f"{spec} stands for more than {MOST_SHARDS:,} shards")
    urls: list[str] = list(expand(spec))
    if is_remote(spec):
        return urls, []
    paths = [path for url in urls for path in sorted(glob(str(Path(url).expanduser())))]
    missing = [url for url in urls if not glob(str(Path(url).expanduser()))]
    if missing:
        raise DataError(f"there is no shard {missing[0]!r} in {Path.cwd()}; shards are {FORMS}")
    train, test = by_part([Path(path).resolve() for path in paths])
    return [str(path) for path in train], [str(path) for path in test]


def _most_expanded(spec: str) -> int:
    """Return how many names braces can stand for; the library makes all of them before it gives the first.

    >>> _most_expanded("a{000..099}.tar"), _most_expanded("{a,b}{0..9..3}.tar"), _most_expanded("a.tar")
    (100, 8, 1)
    """
    count, left = 1, spec
    for first, last, step in RANGE.findall(left):
        if max(map(len, (first, last))) > LONGEST_NUMBER:
            return MOST_SHARDS + 1
        count *= abs(int(last) - int(first)) // max(1, abs(int(step[:LONGEST_NUMBER] or 1))) + 1
    left = RANGE.sub("x", left)
    while group := INNERMOST.search(left):
        count *= group[1].count(",") + 1
        left = left[: group.start()] + "x" + left[group.end() :]
    return count


def _labels(
    found: Sequence[Shard], spec: str, notes: list[str]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    labels = [shard.labels for shard in found]
    given = [np.array(of_one) for of_one in labels if of_one is not None]
    if len(given) < len(labels):
        if given:
            notes.append("some samples have no .cls: used without labels")
        return None, None
    text = np.concatenate(given)
    if all(label.lstrip("-").isdigit() for label in text.tolist()):
        text = text.astype(np.int64)
    (codes,), classes = encode_labels([text], where=f"{spec}: .cls")
    return codes, classes


def _advice(count: int) -> str:
    lanes = lanes_for(count, 1)
    return f"{count} shard{'s' * (count > 1)}, read by up to {lanes} worker{'s' * (lanes > 1)} on one device"


def _name(spec: str) -> str:
    last = re.sub(r"\.tar(\.gz)?.*$", "", spec.rstrip("/ -")).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9]+", "-", last).strip("-") or "shards"
