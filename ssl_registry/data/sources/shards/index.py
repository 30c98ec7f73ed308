"""What is in each shard: how many samples, and their labels, found in one pass over its headers and remembered."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, Self

from platformdirs import user_cache_path
from pydantic import TypeAdapter

from ssl_registry._system.atomic import write_beside
from ssl_registry._system.optional import require
from ssl_registry._system.small_files import read_json
from ssl_registry.data.images.listing import IMAGE_SUFFIXES
from ssl_registry.errors import DataError, SSLRegistryError

__all__ = ["SUFFIXES", "Shard", "index_shard", "is_remote", "refuse_traversal", "webdataset"]

LABEL = "cls"
SUFFIXES = frozenset({suffix[1:] for suffix in IMAGE_SUFFIXES} | {"npy"})  # of images in a shard
BLOCK = tarfile.BLOCKSIZE
# Bytes of an image, a label, a header, and of what is remembered of a shard: each of them is read whole.
MOST_MEMBER, MOST_LABEL, MOST_HEADER, MOST_MEMORY = 2**30, 2**12, 2**20, 2**28
EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
META = re.compile(r"__[^/]*__($|/)")  # members that webdataset leaves out


@dataclass(frozen=True)
class Shard:
    """One tar file of samples.

    Args:
        url: a path, or an address that webdataset opens.
        count: samples in it.
        labels: the text of each sample's ``.cls``, None for one that has none; or None where none has.
        state: size and time of a local file when it was looked through; empty for others.
        images: image files in it.
        without_image: samples that have none.
    """

    url: str
    count: int
    labels: tuple[str | None, ...] | None
    state: tuple[int, ...] = ()
    images: int = 0
    without_image: int = 0


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
    # Of an address nothing tells whether it still holds the same: its labels would never expire.
    if known is not None and state and (known.url, known.state) == (url, state):
        return known
    labels: list[str | None] = []
    images: list[int] = []
    try:
        for sample in webdataset().tariterators.group_by_keys(_headers(url)):
            label = sample.get(LABEL)
            images.append(sum(name.rpartition(".")[2] in SUFFIXES for name in sample))
            labels.append(None if label is None else label.decode().strip())
    except SSLRegistryError:
        raise
    except Exception as error:  # tarfile, the opened stream and webdataset raise what they like
        reason = str(error).split("\n")[0]
        raise DataError(
            f"{url} cannot be read as a shard ({type(error).__name__}: {reason}); expected a whole .tar in which "
            "the files of a sample lie side by side. Fetch or write it again"
        ) from error
    given = tuple(labels) if any(label is not None for label in labels) else None
    shard = Shard(url, len(labels), given, state, sum(images), images.count(0))
    if not state:
        return shard
    content = json.dumps(asdict(shard))
    write_beside(memory, json.dumps({"checksum": zlib.crc32(content.encode()), "shard": content}))
    return shard


def _headers(url: str) -> Iterator[dict[str, Any]]:
    """Yield what webdataset would, with the contents of labels alone. A local file's contents are passed over."""
    local = not is_remote(url)
    with (
        webdataset().gopen(url) as stream,
        tarfile.open(fileobj=stream, mode="r:*" if local else "r|*", tarinfo=_SmallHeader) as archive,
    ):
        for member in archive:
            if not member.isreg() or META.match(member.name):
                continue
            refuse_traversal(member.name, url)
            is_label = member.name.lower().endswith(f".{LABEL}")  # group_by_keys lowers names, too
            if member.size > (MOST_LABEL if is_label else MOST_MEMBER):
                kind = "label" if is_label else "image"
                raise DataError(f"{url} holds {member.name!r} of {member.size:,} bytes, more than any {kind} has")
            wanted = archive.extractfile(member) if is_label else None
            yield {"fname": member.name, "data": wanted.read() if wanted else b"", "__url__": url}
        if local and isinstance(archive.fileobj, BufferedReader) and os.path.getsize(url) < archive.offset + BLOCK:
            raise tarfile.ReadError("cut short: it has no end mark")  # tarfile takes that for the end
        while not local and stream.read(1 << 20):
            pass  # a command that nobody reads to its end would report that as its failure


class _SmallHeader(tarfile.TarInfo):
    """A member whose extended header (a long name, attributes) is of a bounded size: it is read whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header's block, as `tarfile.TarInfo` does."""
        found = super().frombuf(buf, encoding, errors)
        if found.type in EXTENDED and found.size > MOST_HEADER:
            raise tarfile.ReadError(f"a header of {found.size:,} bytes")
        return found


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
    if not stat.S_ISREG(found.st_mode):  # a pipe would keep its reader waiting for ever
        raise DataError(f"{url} is no regular file")
    return (found.st_size, found.st_mtime_ns)


def _cache_folder() -> Path:
    return user_cache_path("ssl-registry", appauthor=False) / "shards"


def _recall(memory: Path) -> Shard | None:
    try:
        kept = read_json(memory, most=MOST_MEMORY, error=DataError)
        content = str(kept["shard"])
        if kept["checksum"] != zlib.crc32(content.encode()):
            return None
        return TypeAdapter(Shard).validate_json(content)
    except (
        DataError,
        ValueError,
        KeyError,
        TypeError,
    ):  # none, a damaged one, or one that is not ours: it is made anew
        return None
