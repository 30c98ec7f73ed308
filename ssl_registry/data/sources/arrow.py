"""Arrow tables (Parquet files, Hugging Face data sets) become a `Source`: images, signals or features in columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.labels import encode_labels, held_out_note, stratified_holdout
from ssl_registry.data.arrays.memory import Part, source_in_memory
from ssl_registry.data.images.encoded import EncodedImages
from ssl_registry.data.images.inspect_images import probe
from ssl_registry.data.images.pixels import Pixels
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError

__all__ = ["ImageColumn", "source_from_tables"]

LABELS = ("label", "labels", "target", "targets", "class", "y", "fine_label")
UNKNOWN = -1  # what Hugging Face data sets write for labels that are kept secret


class ImageColumn(EncodedImages):
    """A column of encoded images.

    Args:
        column: a ``pyarrow.ChunkedArray`` of bytes, or of structs with ``bytes`` and ``path``.
        rows: which of its rows.
        where: for messages.
        labels, size, pixels: see `EncodedImages`.
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
    ) -> None:
        super().__init__(len(rows), None if labels is None else labels.tolist(), size=size, pixels=pixels)
        self.column, self.rows, self.where = column, rows, where

    def encoded(self, index: int) -> bytes:
        """Read one cell."""
        return _cell(self.column, int(self.rows[index]))

    def name(self, index: int) -> str:
        """Return the column and its row."""
        return f"{self.where}, row {self.rows[index]}"


def _cell(column: Any, row: int) -> bytes:
    cell = column[row].as_py()
    if isinstance(cell, dict):
        cell = cell["bytes"] if cell.get("bytes") is not None else Path(cell["path"]).read_bytes()
    if cell is None:
        raise ValueError("the cell is empty")
    return bytes(cell)


def source_from_tables(name: str, train: Any, test: Any | None, options: DataOptions) -> Source:
    """Open tables.

    A column of encoded images, or else one of lists of numbers (a signal or a row of features), is what is trained on;
    where there is neither, all columns of numbers are features. A column called ``label``, ``target`` or the like
    holds classes.

    Args:
        name: of the source.
        train, test: ``pyarrow.Table``; without a test part a share of each class is held out.
        options: how they are read.

    Raises:
        DataError: if no column can be trained on, or its rows do not fit together.
    """
    label = next((column for column in LABELS if column in train.column_names), None)
    names = _class_names(train, label)
    notes: list[str] = []
    if label and test is not None and label in test.column_names and set(test[label].unique().to_pylist()) == {UNKNOWN}:
        test = None
        notes.append("the test part's labels are kept secret: it is not used")
    image = next((column for column in train.column_names if _holds_images(train.schema.field(column).type)), None)
    if image is None:
        parts = [None if part is None else _numbers(part, label, name) for part in (train, test)]
        first, second = parts
        if first is None:
            raise DataError(f"{name} has no train part")
        return source_in_memory(name, first, second, options=options, class_names=names)
    options.require_images(f"column {image!r} of {name}")
    codes, classes = _codes(train, test, label, names, name)
    size = options.image_size or 224
    pixels, (mean, std) = probe(lambda row: _cell(train[image], row), len(train), f"{name}, column {image}")

    def part(table: Any, rows: NDArray[np.int64], labels: NDArray[np.int64] | None, which: str) -> ImageColumn:
        chosen = None if labels is None else labels[rows]
        return ImageColumn(table[image], rows, chosen, where=f"{name} {which}", size=size, pixels=pixels)

    kept = np.arange(len(train))
    held: ImageColumn | None = None
    if test is not None:
        held = part(test, np.arange(len(test)), codes[1] if len(codes) > 1 else None, "test")
    elif codes:
        kept, out = stratified_holdout(codes[0], options.holdout, options.seed)
        if len(out):
            notes.append(held_out_note(len(out), len(train), options.seed))
            held = part(train, out, codes[0], "train")
    return Source(
        name=name,
        modality="image",
        input_shape=(pixels.channels, size, size),
        train=part(train, kept, codes[0] if codes else None, "train"),
        test=held,
        classes=classes,
        mean=mean,
        std=std,
        notes=tuple(notes),
    )


def _holds_images(column: Any) -> bool:
    import pyarrow.types as types

    return bool(
        types.is_binary(column)
        or types.is_large_binary(column)
        or (types.is_struct(column) and column.get_field_index("bytes") >= 0)
    )


def _codes(
    train: Any, test: Any | None, label: str | None, names: Sequence[str] | None, where: str
) -> tuple[list[NDArray[np.int64]], tuple[str, ...] | None]:
    tables = [table for table in (train, test) if table is not None]
    if label is None or any(label not in table.column_names for table in tables):
        return [], None
    return encode_labels([_column(table, label, where) for table in tables], where=f"{where}: {label}", names=names)


def _column(table: Any, name: str, where: str) -> NDArray[Any]:
    if table[name].null_count:
        raise DataError(f"{where}: column {name!r} has {table[name].null_count} empty cells; fill or drop these rows")
    values = np.asarray(table[name].to_numpy())
    return values.astype(str) if values.dtype == object else values


def _class_names(table: Any, label: str | None) -> list[str] | None:
    """Return the names that the library `datasets` writes into a table's schema."""
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        found = features[label]["names"]
    except (TypeError, KeyError, ValueError):  # written by something else, or a label without names
        return None
    return [str(name) for name in found]


def _numbers(table: Any, label: str | None, where: str) -> Part:
    import pyarrow.types as types

    lists = [name for name in table.column_names if _is_list(table.schema.field(name).type)]
    y = _column(table, label, where) if label and label in table.column_names else None
    if len(lists) > 1:
        raise DataError(f"{where} has several columns of lists ({', '.join(lists)}); expected one: drop the others")
    if lists:
        rows = table[lists[0]].to_pylist()
        try:
            x = np.array(rows)
        except ValueError as error:
            raise DataError(f"{where}: column {lists[0]!r} has rows of several lengths; expected one") from error
        # Lists of floats in lists are signals, channels first, in float32 as everywhere.
        return Part(x, y, f"{where}: {lists[0]}", f"{where}: {label}")
    numeric = [
        field.name
        for field in table.schema
        if field.name != label and (types.is_integer(field.type) or types.is_floating(field.type))
    ]
    if not numeric:
        raise DataError(
            f"{where} has no column to train on; expected encoded images, lists of numbers, or numbers. It has: "
            + ", ".join(f"{field.name} ({field.type})" for field in table.schema)
        )
    x = np.stack([_column(table, name, where).astype(np.float64) for name in numeric], 1)
    return Part(x, y, f"{where}: {', '.join(numeric[:5])}", f"{where}: {label}")


def _is_list(column: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_list(column) or types.is_large_list(column) or types.is_fixed_size_list(column))
