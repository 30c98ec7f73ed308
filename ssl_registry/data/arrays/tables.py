"""Tables of pandas become a `Source`: columns of numbers, words, booleans, dates and gaps become features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.encoding import Bad, encode_columns, fit_column, kind_of, numbers_rows
from ssl_registry.data.arrays.memory import Part, choose_held_out, source_in_memory
from ssl_registry.data.arrays.moments import Recordings, read_recordings
from ssl_registry.data.arrays.recordings import Windows, cut_windows
from ssl_registry.data.arrays.table_files import (
    FOLDERS,
    TEST,
    TRAIN,
    UNLABELED,
    File,
    joined,
    labels_of_rows,
    origin_of_rows,
    parts_of_rows,
    select_columns,
)
from ssl_registry.data.arrays.times import as_times, likely_sample, rises
from ssl_registry.data.arrays.written_numbers import begins_with_digit
from ssl_registry.data.columns import TIME, Roles, is_nameless, is_time_like, plain_name, read_roles
from ssl_registry.data.decisions import Decisions, describe_channels
from ssl_registry.data.options import DataOptions
from ssl_registry.data.samples import Origin
from ssl_registry.data.source import Source
from ssl_registry.errors import ConfigError, DataError
from ssl_registry.views.columns import Column, TableColumns

__all__ = ["source_from_files"]


def source_from_files(
    name: str,
    files: Sequence[File],
    options: DataOptions,
    *,
    class_names: Sequence[str] | None = None,
    told: Decisions | None = None,
    recordings: bool = False,
) -> Source:
    """Open tables.

    The columns of the first file to train on select those of all others, by name. What is fitted on the training part
    (categories, medians) is the source's `columns`. Where the options bring that of a run it is applied, and nothing is
    fitted.

    Rows are samples; or moments of recordings, which a column ``sample`` tells apart, or else the files.

    Args:
        name: of the source.
        files: all of them, in order.
        options: how they are read.
        class_names: names of the classes by number, where the data have them.
        told: what was decided before.
        recordings: each file is a recording; so it is where windows are asked for.

    Raises:
        DataError: naming file and column.
    """
    told = told or Decisions()
    is_file, recordings = recordings, recordings or options.window_length is not None
    if recordings and options.modality not in (None, "signal"):
        raise ConfigError(f"modality={options.modality!r}: only signals have several lengths or are cut into windows")
    recorded: TableColumns | None = options.columns
    first = next(file for file in files if file.part != TEST)
    if recorded is not None and options.label_column is None and recorded.label in first.frame.columns:
        options = options.model_copy(update={"label_column": recorded.label})
    measured = _measured(first, told, known=recorded)
    names_of = partial(
        read_roles,
        list(first.frame.columns),
        options,
        where=first.path,
        indices=first.indices,
        measured=measured,
        moments=recordings,
    )
    # A run's table is read as a table; of a folder with a file a recording the files tell them apart.
    roles = names_of(guess=recorded is None and not is_file)
    if roles.guessed and not _are_moments(first.frame, roles):
        roles = names_of(guess=False)
    if options.label_column is None and any(file.label is not None for file in files):
        if roles.label is not None:
            told.left_out.append((roles.label, "beside the class folders"))
        roles = replace(roles, label=FOLDERS)
    told.left_out += roles.left_out
    if recorded is not None:
        roles = _as_recorded(roles, recorded, told)
    files = [select_columns(file, roles.features, roles, told) for file in files]
    parts, roles = parts_of_rows(files, roles, told)
    if not roles.features or not len(parts):
        has = ", ".join(f"{name} ({kind_of(first.frame[name])})" for name in first.frame.columns)
        what = "rows" if roles.features else "column to train on"
        raise DataError(
            f"{first.path} has no {what}; expected columns of numbers, words or dates, and rows. It has: {has}"
        )
    train = np.isin(parts, (TRAIN, UNLABELED))
    if not train.any():
        train[:] = True
        told.more.append("all rows are marked as test: read as one part")
    y, known = labels_of_rows(files, roles, parts)
    if roles.label is None and recorded is None and not told.no_label:
        told.no_label = "--data.label COLUMN names it"
    whole = Part(
        np.empty((len(parts), 0)),
        y,
        f"{first.path}: {', '.join(map(str, roles.features[:5]))}",
        f"{first.path}: {roles.label}",
        known=known,
        origin=origin_of_rows(files),
    )
    likely: str | None = None
    test, table, names = (parts == TEST) & ~train, None, class_names if y is not None else None
    if test.any() and known[train].any() and not known[test].any() and y is not None:
        told.left_out.append((files[-1].path, f"a test part of {test.sum()} samples without labels"))
        test[:] = False
    if roles.sample is not None or recordings:
        whole, train, test = _signals(files, roles, whole, train, test, options, told)
    else:
        if not test.any():
            held = np.flatnonzero(train)[choose_held_out(whole.chosen(train), options, names)]
            if len(held):
                train[held], test[held] = False, True
                told.hold_out(options.seed)
        if recorded is None:
            likely = _likely_sample(first.frame, roles, told)
        table = recorded or _fitted(files, roles, train, told)
        whole = replace(
            whole,
            x=np.concatenate(
                [encode_columns(table, file.frame, where=file.path, first_row=file.first_row) for file in files]
            ),
        )
        if not table.is_plain:
            told.more.append(f"{len(table.columns)} columns become {len(table.features)} features")
    source = source_in_memory(
        name,
        whole.chosen(train),
        whole.chosen(test) if test.any() else None,
        options=options,
        class_names=names,
        told=told,
        columns=table,
    )
    return replace(source, likely_sample=likely)


def _likely_sample(frame: Any, roles: Roles, told: Decisions) -> str | None:
    """Return the column that may tell recordings apart in a table whose rows are read as samples, and tell of it."""
    times = [name for name in roles.features if is_time_like(name)]
    likely, in_time = likely_sample(frame, roles.features, times)
    if in_time or any(plain_name(name) in TIME for name in times):
        column = likely or "COLUMN"
        told.more.append(f"each row is a sample; where rows make signals: --data.sample {column} tells these apart")
    return likely


def _measured(file: File, told: Decisions, *, known: TableColumns | None) -> list[str]:
    """Return the columns without a name that are no index by their values, and tell of them."""
    found = []
    for number, name in enumerate(map(str, file.frame.columns)):
        if not is_nameless(name) or name in file.indices:
            continue
        if number == 0 and numbers_rows(file.frame.iloc[:, 0]):
            continue
        found.append(name)
        if known is None:
            told.more.append(f"column {number + 1} has no name and is called {name!r}")
    return found


def _as_recorded(roles: Roles, recorded: TableColumns, told: Decisions) -> Roles:
    """Take the columns that a run was trained on."""
    names = tuple(column.name for column in recorded.columns)
    told.left_out += [(name, "not trained on") for name in roles.features if name not in names]
    return replace(roles, part=None if roles.part in names else roles.part, sample=None, time=None, features=names)


def _fitted(files: Sequence[File], roles: Roles, train: NDArray[np.bool_], told: Decisions) -> TableColumns:
    """Fit each column on the rows of the training part."""
    columns, first = [], files[0]
    where = first.path if len(files) == 1 else f"{first.path} and {len(files) - 1} more"
    fitted: dict[str, Column | str] = {}
    with Bad() as bad:
        for name in roles.features:
            values = joined(files, name)[train]
            if name in roles.identifiers and values.is_unique and len(values) > 1 and values.dtype.kind not in "fb":
                fitted[name] = "it numbers the rows"
                continue
            with bad.told():
                fitted[name] = fit_column(name, values, where=where, first_row=first.first_row)
    for name, column in fitted.items():
        if isinstance(column, str):
            told.left_out.append((name, column))
            continue
        columns.append(column)
        if column.unit is not None:
            comma = ", a comma before the decimals" if column.decimal_comma else ""
            told.more.append(f"{name!r} is read as numbers" + (f" of {column.unit}" if column.unit else "") + comma)
        elif column.kind == "category" and begins_with_digit(column.categories):
            told.more.append(f"{name!r} is read as words, such as {column.categories[0]!r}")
    if not columns:
        why = ", ".join(f"{name} ({reason})" for name, reason in told.left_out)
        raise DataError(f"{first.path} has no column to train on; left out: {why}")
    return TableColumns(columns=tuple(columns), label=roles.label)


def _signals(
    files: Sequence[File],
    roles: Roles,
    rows: Part,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    options: DataOptions,
    told: Decisions,
) -> tuple[Part, NDArray[np.bool_], NDArray[np.bool_]]:
    """Make signals of moments; return all of them, and which are trained and tested on."""
    import pandas as pd

    origin, where = rows.origin, files[0].path
    assert origin is not None
    needed = list(dict.fromkeys([*filter(None, (roles.sample, roles.time)), *roles.features]))
    frame = pd.DataFrame({name: joined(files, name) for name in needed})
    if roles.sample is None:
        samples = pd.Series([file.path for file in files])[origin.file]
    elif len(files) > 1:  # samples are counted anew in every file
        samples = origin.file.astype(str) + "/" + frame[roles.sample].astype(str)
    else:
        samples = frame[roles.sample]
    samples = pd.Series(samples.to_numpy())
    roles = _with_time(frame, roles, samples, told)
    first_row = files[0].first_row
    found = read_recordings(frame, roles.features, samples=samples, time=roles.time, where=where, first_row=first_row)
    told.left_out += found.left_out
    by = f"signals by {roles.sample!r}" if roles.sample else "signals by file"
    told.more.append(by + (f", in order of {roles.time!r}" if roles.time else ""))
    told.more.append(describe_channels(found.channels))
    if found.counters:
        those, they = (", ".join(map(repr, found.counters)), "rises" if len(found.counters) == 1 else "rise")
        told.more.append(
            f"{those} {they} by the same step in each recording, as a counter does: "
            f"--data.drop {','.join(found.counters)} if that is no channel"
        )
    cut = cut_windows(found.x, found.names, options, told)
    _check_alike(found, train, where, str(roles.part))
    known = rows.known if rows.known is not None else np.ones(len(train), bool)
    begins, alike = _begins(found, cut, [known] if rows.y is None else [known, rows.y])
    if rows.y is not None and not cut.are_cut:
        _check_alike(found, rows.y, where, str(roles.label), "; or cut windows: --data.window N")
    if not alike.all():
        told.more.append(f"{int((~alike).sum()):,} windows in which {roles.label!r} changes have no label")
    several = roles.sample is not None and cut.are_cut
    name = np.array(samples)[found.first].astype(str) if several else None
    signals = Part(
        cut.x,
        None if rows.y is None else rows.y[begins],
        rows.x_name,
        rows.y_name,
        known=known[begins] & alike,
        origin=Origin(
            origin.files,
            origin.file[begins],
            np.arange(len(cut.x)),
            cut.start if cut.are_cut else None,
            None if name is None else name[cut.recording],
        ),
        recording=cut.recording,
    )
    return signals, train[begins], test[begins]


def _are_moments(frame: Any, roles: Roles) -> bool:
    """Whether a column that may tell recordings apart does so: its values repeat, and time rises in each of them."""
    if frame[roles.sample].is_unique:
        return False
    codes = _codes(frame[roles.sample])
    return roles.time is not None or any(rises(frame[name], codes) for name in roles.times)


def _codes(values: Any) -> NDArray[np.int64]:
    """Return the number of the recording of each row."""
    import pandas as pd

    return np.asarray(pd.factorize(values.astype(str), sort=False)[0], np.int64)


def _with_time(frame: Any, roles: Roles, samples: Any, told: Decisions) -> Roles:
    """Choose the column of time among those that are called so; columns that are no channels leave the features.

    ``time`` and its like are time by name alone; of other names the values must rise within each recording.
    """
    codes = _codes(samples)
    risen = [name for name in roles.times if rises(frame[name], codes)]
    time = roles.time
    if time is not None and as_times(frame[time]) is None:
        told.left_out.append((time, "neither numbers nor dates, which would order the rows"))
        time = None
    if time is None and risen:
        time = risen.pop(0)
    told.left_out += [(name, "a second column of time") for name in risen]
    for name in roles.times:
        if name not in (time, *risen) and frame[name].dtype.kind in "iuf":
            told.more.append(
                f"{name!r} is a channel, though it is called like time: it does not rise in each recording; "
                f"--data.drop {name} leaves it out"
            )
    return replace(roles, time=time, features=tuple(name for name in roles.features if name not in (time, *risen)))


def _begins(
    found: Recordings, cut: Windows, told_by_row: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the row in which each window begins, and whether what rows tell is the same in all of its rows."""
    start = found.offsets[cut.recording] + cut.start  # among ``found.rows``
    ends = np.append(found.offsets[1:], len(found.rows))[cut.recording]
    changes = np.zeros(len(found.rows), np.int64)
    for values in told_by_row:
        ordered = values[found.rows]
        changes[1:] += (ordered[1:] != ordered[:-1]).reshape(len(ordered) - 1, -1).any(1)
    total = np.cumsum(changes)
    alike = total[np.minimum(start + cut.x.shape[2], ends) - 1] == total[start]
    return found.rows[start], alike


def _check_alike(found: Recordings, values: NDArray[Any], where: str, what: str, more: str = "") -> None:
    """Refuse rows of one recording that differ in what is told once a recording."""
    differ = (values != values[found.first[found.of_rows]]).reshape(len(values), -1).any(1)
    if differ.any():
        sample = found.names[int(found.of_rows[int(differ.argmax())])]
        raise DataError(
            f"{where}: the rows of sample {sample!r} differ in their {what}; expected one value a sample{more}"
        )
