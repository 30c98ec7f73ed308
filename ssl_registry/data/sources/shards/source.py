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
from ssl_registry.data.arrays.labels import UNLABELED, encode_labels, known_labels, stratified_holdout
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.inspect_images import PROBES, probe
from ssl_registry.data.kinds import place_of
from ssl_registry.data.options import DataOptions
from ssl_registry.data.parts import Split, split_paths
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
    image_size = options.file_size
    split, told = _expand(spec), Decisions()
    test_urls = split.test
    if options.test_data is not None:
        told.left_out += [(url, "--data.test names another test part") for url in test_urls]
        test_urls = _expand(options.test_data).train
    told.left_out += [(url, "a second held-out part") for url in split.validation]
    train, unlabeled, test = (_indexed(urls) for urls in (split.train, split.unlabeled, test_urls))
    found = train + unlabeled + test
    count = sum(shard.count for shard in train + unlabeled)
    if not count:
        raise DataError(f"{spec} holds no samples; expected images as NAME.jpg in a .tar")
    notes = [_advice(len(train + unlabeled))]
    _tell_images(found, told)
    codes, classes = _labels(train, unlabeled, test, spec)
    kept, held = np.arange(count), count + np.arange(sum(shard.count for shard in test))
    if codes is not None and not test:
        kept, held = stratified_holdout(codes, options.holdout, options.seed)
        if len(held):
            told.hold_out(options.seed)
    told.label, told.classes = ".cls" if codes is not None else None, classes
    missing = 0 if codes is None else int((codes[kept] == UNLABELED).sum())
    told.add_part("train", len(kept), files=len(train + unlabeled), unlabeled=missing)
    if len(held):
        told.add_part("test", len(held), files=len(test))
    reader = ShardReader(found)
    pixels, (mean, std) = probe(
        lambda index: reader.read(0, index), min(found[0].count, PROBES), found[0].url, options, told
    )

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
        decided=told.line(),
        value_range=pixels.value_range,
    )


def _indexed(urls: Sequence[str]) -> list[Shard]:
    bar = track(urls, "looking through the shards", disable=not sys.stderr.isatty(), transient=True)
    return [shard for url in bar if (shard := index_shard(url)).count]


def _expand(spec: str) -> Split:
    """Return the addresses by part."""
    if spec.startswith(("s3:", "gs:")):
        raise DataError(f"{spec} is read through a command: --data 'pipe:aws s3 cp {spec} -'")
    expand = require("braceexpand", "webdataset", "a source of shards (.tar)").braceexpand
    if _most_expanded(spec) > MOST_SHARDS:
        raise DataError(f"{spec} stands for more than {MOST_SHARDS:,} shards")
    urls: list[str] = list(expand(spec))
    if is_remote(spec):
        return Split(tuple(urls)) if spec.startswith("pipe:") else split_paths(urls)
    paths = [path for url in urls for path in sorted(glob(str(Path(url).expanduser())))]
    missing = [url for url in urls if not glob(str(Path(url).expanduser()))]
    if missing:
        raise DataError(f"there is no shard {place_of(missing[0])}; shards are {FORMS}")
    return split_paths([Path(path).resolve() for path in paths])


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
    train: Sequence[Shard], unlabeled: Sequence[Shard], test: Sequence[Shard], spec: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Return the class of every sample, -1 for one without, and the classes; both None where there are none."""
    labels = [
        label if shard not in unlabeled else None
        for shard in (*train, *unlabeled, *test)
        for label in (shard.labels or (None,) * shard.count)
    ]
    count = sum(shard.count for shard in (*train, *unlabeled))
    known = np.array([label is not None and bool(label.strip()) for label in labels], bool)
    if not known[:count].any():
        return None, None
    text = np.array([label for label, there in zip(labels, known.tolist(), strict=True) if there])
    if all(label.lstrip("-").isdigit() for label in text.tolist()):
        text = text.astype(np.int64)
        known[known] = (told := known_labels([text])[0])
        text = text[told]
        if not len(text):
            return None, None
    codes = np.full(len(labels), UNLABELED)
    (codes[known],), classes = encode_labels([text], where=f"{spec}: .cls")
    return codes, classes


def _tell_images(found: Sequence[Shard], told: Decisions) -> None:
    """Say where there are more images than samples, or fewer."""
    samples, images = sum(shard.count for shard in found), sum(shard.images for shard in found)
    without = sum(shard.without_image for shard in found)
    if (more := images - (samples - without)) > 0:
        rest = f"{more} images beside the first of their sample"
        told.left_out.append((rest, "names up to the first dot are one sample: write a-v0.png, not a.v0.png"))
    if without:
        told.left_out.append((f"{without} samples", "without an image"))


def _advice(count: int) -> str:
    lanes = lanes_for(count, 1)
    return f"{count} shard{'s' * (count > 1)}, read by up to {lanes} worker{'s' * (lanes > 1)} on one device"


def _name(spec: str) -> str:
    last = re.sub(r"\.tar(\.gz)?.*$", "", spec.rstrip("/ -")).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9]+", "-", last).strip("-") or "shards"
