"""A column of encoded images in Arrow tables becomes a `Source`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.labels import UNLABELED, encode_labels, stratified_holdout
from ssl_registry.data.arrays.table_files import TEST, TRAIN
from ssl_registry.data.arrays.table_files import UNLABELED as NO_LABELS
from ssl_registry.data.columns import Roles
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.encoded import EncodedImages
from ssl_registry.data.images.inspect_images import probe
from ssl_registry.data.images.pixels import Pixels
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.data.sources.arrow_labels import ArrowFile, read_labels

__all__ = ["ImageColumn", "holds_images", "source_of_images"]


class ImageColumn(EncodedImages):
    """A column of encoded images.

    Args:
        column: a ``pyarrow.ChunkedArray`` of bytes, or of structs with ``bytes`` and ``path``.
        rows: which of its rows.
        where: for messages.
        labels, size, pixels: see `EncodedImages`.
        start: rows of other files before it.
    """

    def __init__(
        self,
        column: Any,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64] | None,
        *,
        where: str,
        size: int,
        pixels: Pixels,
        start: int = 0,
    ) -> None:
        super().__init__(len(rows), None if labels is None else labels.tolist(), size=size, pixels=pixels)
        self.column, self.rows, self.where, self.start = column, rows, where, start

    def encoded(self, index: int) -> bytes:
        """Read one cell."""
        return _cell(self.column, int(self.rows[index]))

    def name(self, index: int) -> str:
        """Return the column and its row."""
        return f"{self.where}, row {self.rows[index]}"

    def row(self, index: int) -> int:
        """Return its number among the rows of all files."""
        return self.start + int(self.rows[index])


def _cell(column: Any, row: int) -> bytes:
    cell = column[row].as_py()
    if isinstance(cell, dict):
        cell = cell["bytes"] if cell.get("bytes") is not None else Path(cell["path"]).read_bytes()
    if cell is None:
        raise ValueError("the cell is empty")
    return bytes(cell)


def source_of_images(
    name: str,
    files: Sequence[ArrowFile],
    image: str,
    roles: Roles,
    names: Sequence[str] | None,
    options: DataOptions,
    told: Decisions,
) -> Source:
    """Open images that are decoded when they are asked for.

    Args:
        name: of the source.
        files: all of them, in order; without a test part a share of each class is held out.
        image: the column.
        roles: of the other columns.
        names: of the classes by number, where the data have them.
        options: how they are read.
        told: what was decided before.

    Raises:
        DataError: if no image can be read, or labels are no classes.
    """
    import pyarrow as pa

    parts, y, known = read_labels(files, roles, names, told)
    column = pa.chunked_array([chunk for file in files for chunk in file.table[image].chunks])
    train, test = np.flatnonzero(np.isin(parts, (TRAIN, NO_LABELS))), np.flatnonzero(parts == TEST)
    classes, codes = None, None
    if y is not None and not known[train].any():
        told.no_label = f"{roles.label!r} is empty or -1 in the train part"
    if y is not None and known[train].any():
        if len(test) and not known[test].any():
            told.left_out.append(("test", f"a test part of {len(test)} samples without labels"))
            test = test[:0]
        used = np.zeros(len(parts), bool)
        used[train], used[test] = True, True
        (numbers,), classes = encode_labels([y[known & used]], where=f"{files[0].path}: {roles.label}", names=names)
        codes = np.full(len(parts), UNLABELED)
        codes[known & used] = numbers
        told.label, told.classes = roles.label, classes
    if not len(test) and codes is not None:
        kept, held = stratified_holdout(codes[train], options.holdout, options.seed)
        if len(held):
            told.hold_out(options.seed)
            train, test = train[kept], train[held]
    told.add_part(
        "train",
        len(train),
        files=sum(file.part != TEST for file in files),
        unlabeled=0 if codes is None else int((codes[train] == UNLABELED).sum()),
    )
    if len(test):
        without = 0 if codes is None else int((codes[test] == UNLABELED).sum())
        told.add_part("test", len(test), files=sum(file.part == TEST for file in files), unlabeled=without)
    before = sum(len(file.table) for file in files if file.part != TEST)
    size = options.file_size
    rows = [int(row) for row in train]
    pixels, (mean, std) = probe(
        lambda row: _cell(column, rows[row]), len(rows), f"{name}, column {image}", options, told
    )

    def part(chosen: NDArray[np.int64], which: str) -> ImageColumn:
        labels = None if codes is None else codes[chosen]
        start = before if which == "test" and chosen[0] >= before else 0  # test files are numbered by themselves
        where = f"{name} {'test' if start else 'train'}"
        rows = chosen - start
        return ImageColumn(column.slice(start), rows, labels, where=where, size=size, pixels=pixels, start=start)

    return Source(
        name=name,
        modality="image",
        input_shape=(pixels.channels, size, size),
        train=part(train, "train"),
        test=part(test, "test") if len(test) else None,
        classes=classes,
        mean=mean,
        std=std,
        decided=told.line(),
        value_range=pixels.value_range,
    )


def holds_images(column: Any) -> bool:
    """Whether a column of this Arrow type holds encoded images: bytes, or the Hub's struct of bytes and path."""
    import pyarrow.types as types

    return bool(
        types.is_binary(column)
        or types.is_large_binary(column)
        or (types.is_struct(column) and column.get_field_index("bytes") >= 0)
    )
