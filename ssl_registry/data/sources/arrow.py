"""Arrow tables (Parquet files, Hugging Face data sets) become a `Source`: images, signals or features in columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.labels import UNLABELED as NO_LABEL
from ssl_registry.data.arrays.labels import encode_labels, known_labels, stratified_holdout
from ssl_registry.data.arrays.memory import Part, source_in_memory
from ssl_registry.data.arrays.table_files import TEST, TRAIN, UNLABELED, File, labels_of_rows, origin_of_rows
from ssl_registry.data.arrays.tables import source_from_files
from ssl_registry.data.columns import Roles, read_roles
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.encoded import EncodedImages
from ssl_registry.data.images.inspect_images import probe
from ssl_registry.data.images.pixels import Pixels
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError

__all__ = ["ArrowFile", "ImageColumn", "has_labels", "source_from_tables"]


@dataclass(frozen=True)
class ArrowFile:
    """A table and where it came from.

    Args:
        table: a ``pyarrow.Table``.
        path: of the file, or the name of the part.
        part: ``train``, ``test`` or ``unlabeled``.
        indices: columns that the file itself marks as an index.
    """

    table: Any
    path: str
    part: str = TRAIN
    indices: tuple[str, ...] = ()


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


def source_from_tables(name: str, files: Sequence[ArrowFile], options: DataOptions, told: Decisions) -> Source:
    """Open tables.

    A column of encoded images, or else one of lists of numbers (a signal or a row of features), is what is trained on;
    where there is neither, all columns are features, as in `source_from_files`.

    Args:
        name: of the source.
        files: all of them, in order; without a test part a share of each class is held out.
        options: how they are read.
        told: what was decided before.

    Raises:
        DataError: if no column can be trained on, or its rows do not fit together.
    """
    first = next(file for file in files if file.part != TEST)
    schema = first.table.schema
    roles = read_roles(first.table.column_names, options, where=first.path, indices=first.indices)
    names = _class_names(first.table, roles.label)
    image = next((column for column in roles.features if _holds_images(schema.field(column).type)), None)
    lists = [column for column in roles.features if _is_list(schema.field(column).type)]
    if image is None and not lists:
        tables = [File(_as_frame(file), file.path, file.part, file.indices) for file in files]
        return source_from_files(name, _renumbered(tables, files, roles, names), options, class_names=names, told=told)
    if image is None and len(lists) > 1:
        raise DataError(
            f"{first.path} has several columns of lists ({', '.join(lists)}); expected one: leave the others out, "
            f"--data.drop {lists[1]}"
        )
    column = image or lists[0]
    for file in files:
        if column not in file.table.column_names:
            raise DataError(
                f"{file.path} has no column {column!r}, which the training part has; it has: "
                f"{', '.join(file.table.column_names)}"
            )
    told.left_out += roles.left_out
    told.left_out += [
        (other, f"beside {'the images' if image else 'the lists'} in {column!r}")
        for other in (*roles.features, roles.part)
        if other not in (column, None)
    ]
    if roles.label is not None and _is_list(schema.field(roles.label).type):
        told.left_out.append((roles.label, "lists of labels"))
        roles = Roles(None, None, None, None, roles.features, (), ())
    if image is not None:
        options.require_images(f"column {image!r} of {name}")
        return _images(name, files, image, roles, names, options, told)
    return _lists(name, files, lists[0], roles, names, options, told)


def has_labels(table: Any, options: DataOptions, where: str) -> bool:
    """Whether any row of a table has a label."""
    roles = read_roles(table.column_names, options, where=where)
    _, y, known = _labels([ArrowFile(table, where)], roles, _class_names(table, roles.label))
    return y is not None and bool(known.any())


def _images(
    name: str,
    files: Sequence[ArrowFile],
    image: str,
    roles: Roles,
    names: Sequence[str] | None,
    options: DataOptions,
    told: Decisions,
) -> Source:
    import pyarrow as pa

    parts, y, known = _labels(files, roles, names)
    column = pa.chunked_array([chunk for file in files for chunk in file.table[image].chunks])
    train, test = np.flatnonzero(parts != TEST), np.flatnonzero(parts == TEST)
    classes, codes = None, None
    if y is not None and known[train].any():
        if len(test) and not known[test].any():
            told.left_out.append(("test", f"a test part of {len(test)} samples without labels"))
            test = test[:0]
        used = np.zeros(len(parts), bool)
        used[train], used[test] = True, True
        (numbers,), classes = encode_labels([y[known & used]], where=f"{files[0].path}: {roles.label}", names=names)
        codes = np.full(len(parts), NO_LABEL)
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
        unlabeled=0 if codes is None else int((codes[train] == NO_LABEL).sum()),
    )
    if len(test):
        told.add_part("test", len(test), files=sum(file.part == TEST for file in files))
    size = options.image_size or 224
    rows = [int(row) for row in train]
    pixels, (mean, std) = probe(lambda row: _cell(column, rows[row]), len(rows), f"{name}, column {image}")

    def part(chosen: NDArray[np.int64], which: str) -> ImageColumn:
        labels = None if codes is None else codes[chosen]
        # Numbered within the part, where the files themselves are parts.
        start = int((parts != TEST).sum()) if which == "test" and parts[chosen[0]] == TEST else 0
        shown = "test" if start else "train"
        return ImageColumn(
            column.slice(start), chosen - start, labels, where=f"{name} {shown}", size=size, pixels=pixels
        )

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
    )


def _lists(
    name: str,
    files: Sequence[ArrowFile],
    column: str,
    roles: Roles,
    names: Sequence[str] | None,
    options: DataOptions,
    told: Decisions,
) -> Source:
    parts, y, known = _labels(files, roles, names)
    try:
        # Lists of floats in lists are signals, channels first, in float32 as everywhere.
        x = np.array([row for file in files for row in file.table[column].to_pylist()])
    except ValueError as error:
        raise DataError(f"{files[0].path}: column {column!r} has rows of several lengths; expected one") from error
    origin = origin_of_rows([File(file.table, file.path) for file in files])

    def part(rows: NDArray[np.bool_]) -> Part:
        return Part(
            x[rows],
            None if y is None else y[rows],
            f"{files[0].path}: {column}",
            f"{files[0].path}: {roles.label}",
            known=known[rows],
            origin=origin.chosen(rows),
        )

    test = parts == TEST
    return source_in_memory(
        name,
        part(~test),
        part(test) if test.any() else None,
        options=options,
        class_names=names if y is not None else None,
        told=told,
    )


def _labels(
    files: Sequence[ArrowFile], roles: Roles, names: Sequence[str] | None
) -> tuple[NDArray[np.str_], NDArray[Any] | None, NDArray[np.bool_]]:
    """Return part, label and whether there is one, of the rows of all files."""
    import pandas as pd

    frames = []
    for file in files:
        has_label = roles.label is not None and roles.label in file.table.column_names
        frame = file.table.select([roles.label]).to_pandas() if has_label else pd.DataFrame(index=range(len(file.table)))
        frames.append(File(frame, file.path, file.part))
    frames = _renumbered(frames, files, roles, names)
    parts = np.concatenate([np.full(len(file.frame), file.part, "<U10") for file in frames])
    y, known = labels_of_rows(frames, roles, parts)
    if y is not None:
        known &= known_labels([y], named=names is not None)[0]
    return parts, y, known


def _renumbered(
    frames: Sequence[File], files: Sequence[ArrowFile], roles: Roles, names: Sequence[str] | None
) -> list[File]:
    """Bring the classes' numbers of each file to those of the first, by their names."""
    out = []
    for frame, file in zip(frames, files, strict=True):
        own = _class_names(file.table, roles.label)
        if names is not None and own is not None and own != list(names):
            if unknown := [name for name in own if name not in names]:
                raise DataError(
                    f"{file.path} has the class {unknown[0]!r}, the training part has not; it has: "
                    f"{', '.join(list(names)[:20])}"
                )
            numbers = {number: names.index(name) for number, name in enumerate(own)}
            changed = frame.frame.copy()
            changed[roles.label] = changed[roles.label].map(lambda number, to=numbers: to.get(number, number))
            frame = File(changed, frame.path, frame.part, frame.indices, frame.first_row)
        out.append(frame)
    return out


def _as_frame(file: ArrowFile) -> Any:
    """Return a table as pandas has it, with its index as columns."""
    frame = file.table.to_pandas(ignore_metadata=True)
    for name in frame.columns:
        if frame[name].dtype == object and len(there := frame[name].dropna()) and isinstance(there.iloc[0], bool):
            frame[name] = frame[name].map({True: 1.0, False: 0.0}).astype(float)  # booleans with gaps
    return frame


def _class_names(table: Any, label: str | None) -> list[str] | None:
    """Return the names that the library `datasets` writes into a table's schema."""
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        found = features[label]["names"]
    except (TypeError, KeyError, ValueError):  # written by something else, or a label without names
        return None
    return [str(name) for name in found]


def _holds_images(column: Any) -> bool:
    import pyarrow.types as types

    return bool(
        types.is_binary(column)
        or types.is_large_binary(column)
        or (types.is_struct(column) and column.get_field_index("bytes") >= 0)
    )


def _is_list(column: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_list(column) or types.is_large_list(column) or types.is_fixed_size_list(column))
