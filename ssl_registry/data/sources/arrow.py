"""Arrow tables (Parquet files, Hugging Face data sets) become a `Source`: images, signals or features in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.memory import Part, source_in_memory
from ssl_registry.data.arrays.table_files import TEST, TRAIN, UNLABELED, File, origin_of_rows
from ssl_registry.data.arrays.tables import source_from_files
from ssl_registry.data.columns import Roles, read_roles
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.data.sources.arrow_labels import ArrowFile, class_names, read_labels, renumbered
from ssl_registry.data.sources.image_column import holds_images, source_of_images
from ssl_registry.errors import DataError

__all__ = ["as_frame", "source_from_tables"]


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
    names = class_names(first.table, roles.label)
    image = next((column for column in roles.features if holds_images(schema.field(column).type)), None)
    lists = [column for column in roles.features if _is_list(schema.field(column).type)]
    if image is None and not lists:
        tables = [File(as_frame(file), file.path, file.part, file.indices) for file in files]
        return source_from_files(name, renumbered(tables, files, roles, names), options, class_names=names, told=told)
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
        for other in roles.features
        if other != column
    ]
    if roles.label is not None and _is_list(schema.field(roles.label).type):
        told.left_out.append((roles.label, "lists of labels"))
        roles = replace(roles, label=None)
    if image is not None:
        options.require_images(f"column {image!r} of {name}")
        return source_of_images(name, files, image, roles, names, options, told)
    return _lists(name, files, lists[0], roles, names, options, told)


def _lists(
    name: str,
    files: Sequence[ArrowFile],
    column: str,
    roles: Roles,
    names: Sequence[str] | None,
    options: DataOptions,
    told: Decisions,
) -> Source:
    parts, y, known = read_labels(files, roles, names, told)
    rows = [row for file in files for row in file.table[column].to_pylist()]
    x: NDArray[Any] | list[NDArray[Any]]
    try:
        # Lists of floats in lists are signals, channels first, in float32 as everywhere.
        x = np.array(rows)
    except ValueError:  # recordings of several lengths
        x = _recordings(rows, f"{files[0].path}: column {column!r}")
    origin = origin_of_rows([File(file.table, file.path) for file in files])
    whole = Part(x, y, f"{files[0].path}: {column}", f"{files[0].path}: {roles.label}", known=known, origin=origin)

    test = parts == TEST
    return source_in_memory(
        name,
        whole.chosen(np.isin(parts, (TRAIN, UNLABELED))),
        whole.chosen(test) if test.any() else None,
        options=options,
        class_names=names if y is not None else None,
        told=told,
    )


def _recordings(rows: list[Any], where: str) -> list[NDArray[Any]]:
    try:
        return [np.array(row, np.float32) for row in rows]
    except (TypeError, ValueError) as error:  # an empty cell, or channels of several lengths
        raise DataError(f"{where} has rows that are no recording ({error}); expected lists of numbers") from error


def as_frame(file: ArrowFile) -> Any:
    """Return a table as pandas has it, with its index as columns, and decimal numbers as floats."""
    import pyarrow as pa

    schema = file.table.schema
    decimals = [field.name for field in schema if pa.types.is_decimal(field.type)]
    floats = pa.schema([field.with_type(pa.float64()) if field.name in decimals else field for field in schema])
    frame = file.table.cast(floats).to_pandas(ignore_metadata=True)
    for name in frame.columns:
        if frame[name].dtype == object and len(there := frame[name].dropna()) and isinstance(there.iloc[0], bool):
            frame[name] = frame[name].map({True: 1.0, False: 0.0}).astype(float)  # booleans with gaps
    return frame


def _is_list(column: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_list(column) or types.is_large_list(column) or types.is_fixed_size_list(column))
