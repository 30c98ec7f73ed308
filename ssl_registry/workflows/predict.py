"""`predict`: the class of every sample, by a network that `finetune` trained."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry._system.atomic import given_path, whole_file
from ssl_registry._system.optional import require
from ssl_registry._system.terminal import one_line
from ssl_registry.data import Source
from ssl_registry.data.options import ReadOptions
from ssl_registry.errors import CheckpointError, ConfigError
from ssl_registry.measures.features import choose_devices, replicate, stream_features
from ssl_registry.runs.finetuned import find_finetuned
from ssl_registry.runs.opened import OpenedRun, given_size, loading_workers, open_run
from ssl_registry.workflows.rows import PLACES, Rows, RowSet, open_rows, stream_rows

__all__ = ["PredictResult", "predict"]

SUFFIXES = (".parquet", ".pq", ".csv", ".npz")
PARQUET = (".parquet", ".pq")

Write = Callable[[dict[str, list[Any]]], None]


@dataclass(frozen=True)
class PredictResult:
    """What a classifier says of every sample.

    Args:
        file: that was written; None without ``out``.
        classes: their names.
        counts: how many samples got each class, in that order.
        rows: how many there are.
        unreadable: image files that have no row because they cannot be read.
        predictions: the class of each row, and
        probabilities: [rows, classes] in float32; both None where a file was written.
    """

    file: Path | None
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    rows: int
    unreadable: int
    predictions: tuple[str, ...] | None = None
    probabilities: Tensor | None = None


def predict(
    path: str | Path,
    *,
    data: str | Source | None = None,
    out: str | Path | None = None,
    batch_size: int = 256,
    workers: int | None = None,
    devices: str | Sequence[str] | None = None,
    backbone: nn.Module | None = None,
    trust: bool = False,
    registry: Registry = default_registry,
    **reading: Unpack[ReadOptions],
) -> PredictResult:
    """Classify every sample of a source with a network that `ssl_registry.finetune` wrote.

    Samples are prepared as in training: size and normalisation of images, scale of signals, columns of tables. Rows
    follow the file's own order, or else the source's, its training part before its test part.

    Columns of the file: ``id``, ``path`` and ``split`` (and of windows ``recording`` and ``start``) as
    `ssl_registry.embed` writes them, ``label`` (the class that the source tells, or empty), ``prediction`` (a class's
    name), and ``p_CLASS``, the probability of each class. An ``.npz`` has arrays ``id``, ``path``, ``split``,
    ``label``, ``prediction``, ``probabilities`` [rows, classes] and ``classes``.

    Args:
        path: what `ssl_registry.finetune` wrote, or a run's folder with one such file.
        data: a source, labelled or not, by name or a `Source`; default: what the classifier was trained on.
        out: ``.parquet``, ``.csv`` or ``.npz``; None returns the predictions instead.
        batch_size: samples a batch.
        workers: processes that load samples; default as in training.
        devices: such as ``"cuda:0,cuda:1"``; default: all GPUs, or the CPU. Batches are shared out among them.
        backbone: the module that training was given from Python.
        trust: run and fetch what the file names, such as the Python file of a network.
        registry: where methods are looked up.
        **reading: how the samples are read, where that is not as in training; see `ReadOptions`.

    Raises:
        CheckpointError, DataError, TrustError: for what cannot be opened, or has no classifier.
        ConfigError: if ``out`` is a folder, or of no known kind.
        MissingExtraError: if ``out`` is Parquet and pyarrow is not installed.
        SSLRegistryError: if the file cannot be written.
    """
    target = None if out is None else _target(out)
    if batch_size < 1 or (workers or 0) < 0:
        raise ConfigError(f"batch_size={batch_size} must be at least 1, and workers={workers} at least 0")
    size = given_size(data, reading.get("image_size"))
    tuned = open_run(find_finetuned(Path(path)), backbone=backbone, image_size=size, trust=trust, registry=registry)
    if tuned.classifier is None:
        raise CheckpointError(
            f"{path} has no classifier, it gives features alone; train one on labels first: ssl-registry finetune "
            f"{path} --labels 1"
        )
    source, parts = open_rows(tuned, data, reading)
    classes = tuned.classifier.classes
    counts = np.zeros(len(classes), np.int64)
    kept: list[Rows] = []
    with _opened(target, classes) as write:
        for rows in _predicted(tuned, source, parts, batch_size, loading_workers(source, workers), devices):
            best = rows.outputs.argmax(1)
            counts += np.bincount(best.numpy(), minlength=len(classes))
            if write is None:
                kept.append(rows)
            else:
                write(_columns(rows, classes))
    found = int(counts.sum())
    return PredictResult(
        target,
        classes,
        tuple(counts.tolist()),
        found,
        sum(len(part.samples) for part in parts) - found,
        None if target else tuple(classes[i] for rows in kept for i in rows.outputs.argmax(1).tolist()),
        None if target else torch.cat([rows.outputs for rows in kept]),
    )


def _target(out: str | Path) -> Path:
    target = given_path(out)
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; --out takes a file, such as {target / 'predictions.csv'}")
    if target.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{target} is no name of a table; give --out {target.with_suffix('.csv')}, .parquet or .npz")
    if target.suffix.lower() in PARQUET:
        require("pyarrow", "parquet", "--out FILE.parquet")
    return target


def _predicted(
    tuned: OpenedRun,
    source: Source,
    parts: Sequence[RowSet],
    batch_size: int,
    workers: int,
    devices: str | Sequence[str] | None,
) -> Iterator[Rows]:
    """Yield the rows of all parts, with the classes' probabilities."""
    assert tuned.classifier is not None
    replicas = replicate(tuned.predicting(tuned.classifier), choose_devices(devices))
    first = 0
    for part in parts:
        loader: Any = DataLoader(part.samples, batch_size=batch_size, num_workers=workers, generator=torch.Generator())
        for rows in stream_rows(stream_features(replicas, loader), source, part, 0, first):
            yield Rows(rows.columns, rows.outputs.softmax(1))
        first += len(part.samples)


def _columns(rows: Rows, classes: tuple[str, ...]) -> dict[str, list[Any]]:
    probabilities = {f"p_{name}": rows.outputs[:, number].tolist() for number, name in enumerate(classes)}
    return {
        **{name: rows.columns[name] for name in ("id", "path", *PLACES) if name in rows.columns},
        **{name: rows.columns[name] for name in ("split", "label")},
        "prediction": [classes[i] for i in rows.outputs.argmax(1).tolist()],
        **probabilities,
    }


@contextmanager
def _opened(target: Path | None, classes: tuple[str, ...]) -> Iterator[Write | None]:
    """Yield what writes the columns of some rows into a file, which is there when all are written; None without one."""
    if target is None:
        yield None
        return
    kind = target.suffix.lower()
    with whole_file(target) as file:
        if kind == ".csv":
            text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
            try:
                yield _csv_writer(text)
            finally:
                text.detach()  # the file is closed where it was opened
        elif kind == ".npz":
            columns: list[dict[str, list[Any]]] = []
            yield columns.append
            _write_arrays(file, columns, classes)
        else:
            import pyarrow.parquet as pq

            writers: list[Any] = []
            try:
                yield lambda columns: _write_group(pq, file, writers, columns)
            finally:
                for writer in writers:
                    writer.close()


def _csv_writer(text: Any) -> Write:
    writer = csv.writer(text)
    begun: list[bool] = []

    def write(columns: dict[str, list[Any]]) -> None:
        if not begun:
            writer.writerow(columns)
            begun.append(True)
        writer.writerows(zip(*columns.values(), strict=True))

    return write


def _write_group(pq: Any, file: Any, writers: list[Any], columns: dict[str, list[Any]]) -> None:
    import pyarrow as pa

    text = dict.fromkeys(("path", "split", "label", "prediction", "recording"), pa.string())
    kinds = [text.get(name, pa.float32() if name.startswith("p_") else pa.int64()) for name in columns]
    arrays = [pa.array(column, kind) for column, kind in zip(columns.values(), kinds, strict=True)]
    table = pa.Table.from_arrays(arrays, names=list(columns))
    if not writers:
        writers.append(pq.ParquetWriter(file, table.schema))
    writers[0].write_table(table)


def _write_arrays(file: Any, pieces: list[dict[str, list[Any]]], classes: tuple[str, ...]) -> None:
    """Write arrays that need no pickle: what is missing is empty text."""
    joined = {name: [value for piece in pieces for value in piece[name]] for name in pieces[0]} if pieces else {}
    arrays: dict[str, NDArray[Any]] = {
        name: np.array(["" if value is None else value for value in column])
        for name, column in joined.items()
        if not name.startswith("p_")
    }
    columns = [joined[f"p_{name}"] for name in classes] if joined else [[] for _ in classes]
    probabilities = np.array(columns, np.float32).T
    arrays |= {"probabilities": probabilities, "classes": np.array(classes)}
    np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy types them as its own options


def in_words(result: PredictResult) -> str:
    """Return the result as a line, such as ``3 rows: cat 2, dog 1``."""
    named = sorted(zip(result.counts, result.classes, strict=True), reverse=True)
    shown = [f"{one_line(name)} {count:,}" for count, name in named[:10] if count]
    more = len([count for count in result.counts if count]) - len(shown)
    return f"{result.rows:,} rows: {', '.join(shown)}" + (f" and {more} more classes" if more > 0 else "")
