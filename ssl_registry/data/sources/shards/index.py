"""What is in each shard: how many samples, and their labels, found in one pass over its headers and remembered."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

from platformdirs import user_cache_path

from ssl_registry._system.atomic import write_beside
from ssl_registry._system.optional import require
from ssl_registry.errors import DataError, SSLRegistryError

__all__ = ["Shard", "index_shard", "is_remote", "refuse_traversal", "webdataset"]

LABEL = "cls"
BLOCK = tarfile.BLOCKSIZE
META = re.compile(r"__[^/]*__($|/)")  # members that webdataset leaves out


@dataclass(frozen=True)
class Shard:
    """One tar file of samples.

    Args:
        url: a path, or an address that webdataset opens.
        count: samples in it.
        labels: the text of each sample's ``.cls``; None where a sample has none.
        state: size and time of a local file when it was looked through; empty for others.
    """

    url: str
    count: int
    labels: tuple[str, ...] | None
    state: tuple[int, ...] = ()


def webdataset() -> Any:
    """Import webdataset.

    Raises:
        MissingExtraError: if it is not installed.
    """
    return require("webdataset", "webdataset", "a source of shards (.tar)")


def is_remote(url: str) -> bool:
    """Whether an address is something else than a path."""
    return re.match(r"[a-z][a-z0-9+.-]+:", url) is not None


def index_shard(url: str) -> Shard:
    """Look through a shard, or recall what was found when it was looked through before.

    Raises:
        DataError: if it cannot be read to its end, or holds a name that leads out of it.
        MissingExtraError: if webdataset is not installed.
    """
    state = _state(url)
    memory = _cache_folder() / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
    known = _recall(memory)
    if known is not None and (known.url, known.state) == (url, state):
        return known
    labels: list[str | None] = []
    try:
        for sample in webdataset().tariterators.group_by_keys(_headers(url)):
            label = sample.get(LABEL)
            labels.append(None if label is None else label.decode().strip())
    except SSLRegistryError:
        raise
    except Exception as error:  # tarfile, the opened stream and webdataset raise what they like
        reason = str(error).split("\n")[0]
        raise DataError(
            f"{url} cannot be read as a shard ({type(error).__name__}: {reason}); expected a whole .tar in which "
            "the files of a sample lie side by side. Fetch or write it again"
        ) from error
    found = tuple(label for label in labels if label is not None)
    shard = Shard(url, len(labels), found if len(found) == len(labels) > 0 else None, state)
    write_beside(memory, json.dumps(asdict(shard)))
    return shard


def _headers(url: str) -> Iterator[dict[str, Any]]:
    """Yield what webdataset would, with the contents of labels alone. A local file's contents are passed over."""
    local = not is_remote(url)
    with (
        webdataset().gopen(url) as stream,
        tarfile.open(fileobj=stream, mode="r:*" if local else "r|*") as archive,
    ):
        for member in archive:
            if not member.isreg() or META.match(member.name):
                continue
            refuse_traversal(member.name, url)
            wanted = archive.extractfile(member) if member.name.endswith(f".{LABEL}") else None
            yield {"fname": member.name, "data": wanted.read() if wanted else b"", "__url__": url}
        if local and isinstance(archive.fileobj, BufferedReader) and os.path.getsize(url) < archive.offset + BLOCK:
            raise tarfile.ReadError("cut short: it has no end mark")  # tarfile takes that for the end
        while not local and stream.read(1 << 20):
            pass  # a command that nobody reads to its end would report that as its failure


def refuse_traversal(name: str, url: str) -> None:
    """Refuse a member whose name leads out of the archive. Nothing is unpacked here; others may.

    Raises:
        DataError: naming both.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{url} holds {name!r}, a name that leads out of the archive; such a shard is refused")


def _state(url: str) -> tuple[int, ...]:
    if is_remote(url):
        return ()
    found = os.stat(url)
    return (found.st_size, found.st_mtime_ns)


def _cache_folder() -> Path:
    return user_cache_path("ssl-registry", appauthor=False) / "shards"


def _recall(memory: Path) -> Shard | None:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        labels = known["labels"]
        return Shard(known["url"], known["count"], None if labels is None else tuple(labels), tuple(known["state"]))
    except (OSError, ValueError, KeyError, TypeError):  # none, or one that is not ours: it is made anew
        return None
