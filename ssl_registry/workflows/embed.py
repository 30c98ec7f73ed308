"""`embed`: features or tokens of every sample of a source, in constant memory, and resumed where it stopped."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry._system.atomic import given_path, whole_file
from ssl_registry._system.optional import require
from ssl_registry._system.small_files import read_text
from ssl_registry.data import Source
from ssl_registry.data.options import ReadOptions
from ssl_registry.errors import ConfigError, DataError
from ssl_registry.measures.features import choose_devices, replicate, stream_features
from ssl_registry.runs.opened import RawNetwork, given_size, loading_workers, open_run
from ssl_registry.runs.raw_tokens import RawTokens
from ssl_registry.workflows.evaluate.features_cache import features_key
from ssl_registry.workflows.rows import PLACES, RowSet, open_rows, stream_rows
from ssl_registry.workflows.token_files import join_as_array, join_as_rows
from ssl_registry.workflows.vector_files import average_windows, join_as_csv, join_as_parquet

__all__ = ["EmbedResult", "embed"]

# Rows a piece: what a stop can lose, and what is held in memory at a time.
PIECE = 8192
# Numbers a piece where a sample has many: 256 MB.
PIECE_VALUES = 2**26
PARQUET = (".parquet", ".pq")
SUFFIXES = (*PARQUET, ".csv", ".npz")
TOKEN_SUFFIXES = (*PARQUET, ".npz")


@dataclass(frozen=True)
class EmbedResult:
    """A file of embeddings.

    Args:
        file: Parquet, with columns ``id`` (int64, the sample's row in the file, counted on where there are several;
            elsewhere its place in the source), ``path`` (of the file, or null), ``split`` (``train`` or ``test``: of
            the run's own data what it was trained on and what it held out; of other data the part that they tell, or
            null), ``label`` (the class's name, or null) and ``vector`` (a list of ``width`` float32). Of windows also
            ``start`` (int64, the first moment) and, where a file holds several recordings, ``recording`` (its name;
            in an array its number). A row a recording has ``windows`` (int64, how many were averaged) in place of
            ``start``, an ``id`` that counts recordings, and a label if all of its windows have the same.
            CSV has the same columns, with ``v0``, ``v1``, ... in place of ``vector``; an npz has arrays ``vectors``
            [rows, width], ``ids``, ``paths``, ``splits``, ``labels``, and ``recording``, ``start`` and ``windows``
            where they are columns.
        rows: how many; of tokens, the samples.
        width: of a vector, or of a token.
        resumed: samples that an earlier call had made.
        unreadable: image files that have no row because they cannot be read.
        grid: of the tokens of a sample, (rows, columns) or (steps,); None for vectors. Such a file has a row a token,
            with ``row`` and ``column`` (or ``step``) and ``features`` in place of ``vector``; or it is an npz, with
            ``features`` [samples, tokens, width], ``grid``, ``ids``, ``paths``, ``splits`` and ``labels``.
        windows: of recordings, how many were averaged; None where a row is a sample.
    """

    file: Path
    rows: int
    width: int
    resumed: int
    unreadable: int
    grid: tuple[int, ...] | None = None
    windows: int | None = None


def embed(
    path: str | Path,
    *,
    out: str | Path,
    tokens: bool = False,
    by: Literal["sample", "recording"] = "sample",
    data: str | Source | None = None,
    batch_size: int = 256,
    workers: int | None = None,
    devices: str | Sequence[str] | None = None,
    backbone: str | nn.Module | None = None,
    network: str = "product",
    trust: bool = False,
    registry: Registry = default_registry,
    **reading: Unpack[ReadOptions],
) -> EmbedResult:
    """Map every sample of a source to its features, or to its patch tokens, and write them to a file.

    Every sample has a row, in the file's own order, or else the source's, its training part before its test part.
    Pieces are kept in ``OUT.pieces`` until the file is whole; the same call goes on with those of an earlier one
    that was stopped, and starts anew when weights or samples are others.

    Args:
        path: a run's folder, a checkpoint, or weights alone: an export, or a file of any toolbox.
        out: the file to write: by its suffix Parquet, CSV or npz; of tokens Parquet or npz.
        tokens: write what the network computes before it pools: the patch tokens of a transformer, the positions of a
            feature map, the steps of a signal; see `EmbedResult`.
        by: what has a row: a ``sample``, of recordings that are cut into windows a window; or a ``recording``, whose
            vector is the mean of its windows'. Memory grows with the number of recordings then.
        data: a source, labelled or not, by name or a `Source`; default: the run's.
        batch_size: samples a batch.
        workers: processes that load samples; default as in training.
        devices: such as ``"cuda:0,cuda:1"``; default: all GPUs, or the CPU. Batches are shared out among them.
        backbone: the module that training was given from Python; of weights alone, a module or a name.
        network: ``product``, what the method's authors evaluate (DINO: the teacher's), or ``backbone``, what the
            gradient trained; of most methods they are the same. Of weights alone with several networks, a part of
            their names, such as ``teacher``.
        trust: run and fetch what the run's files name, such as the Python file of a network.
        registry: where the method is looked up.
        **reading: how the samples are read, where that is not as in training; see `ReadOptions`.

    Raises:
        CheckpointError, DataError, TrustError: for what cannot be opened.
        BackboneError: if the network has no tokens, and they are asked for.
        DataError: if recordings are asked for, and the samples are images or rows of a table.
        ConfigError: if ``out`` is a folder, or no name of such a file, or tokens of recordings are asked for.
        MissingExtraError: if pyarrow is not installed.
        SSLRegistryError: if the file cannot be written, on a full disk for instance; finished pieces stay.
    """
    require("pyarrow", "parquet", "embed")
    target = _target(out, tokens=tokens)
    if by not in ("sample", "recording"):
        raise ConfigError(f"by={by!r}: give 'sample' or 'recording'")
    if tokens and by == "recording":
        raise ConfigError("--by recording averages vectors, and --tokens writes none; leave one of them out")
    if batch_size < 1 or (workers or 0) < 0:
        raise ConfigError(f"batch_size={batch_size} must be at least 1, and workers={workers} at least 0")
    size = given_size(data, reading.get("image_size"))
    pretrained = open_run(path, backbone=backbone, network=network, image_size=size, trust=trust, registry=registry)
    source, parts = open_rows(pretrained, data, reading)
    if by == "recording" and source.modality != "signal":
        what = "images" if source.modality == "image" else "rows of a table"
        raise DataError(f"--by recording: {source.name} holds {what}, not recordings; leave it out, for a row each")
    raw = pretrained.trained()
    trained = RawTokens(raw) if tokens else raw
    grid = trained.grid if isinstance(trained, RawTokens) else None
    width = trained.width * trained.count if isinstance(trained, RawTokens) else raw.feature_dim
    piece_rows = min(PIECE, max(1, PIECE_VALUES // width))
    pieces = _open_pieces(target, trained, parts, width, piece_rows)
    replicas = replicate(trained, choose_devices(devices))
    spans = list(_spans(parts, piece_rows))
    resumed = 0
    for number, (part, start, stop, first) in enumerate(spans):
        piece = pieces / f"{number:06d}.parquet"
        if _is_whole(piece):
            resumed += stop - start
            continue
        span = Subset(part.samples, range(start, stop))
        loader = DataLoader(
            span, batch_size=batch_size, num_workers=loading_workers(source, workers), generator=torch.Generator()
        )
        rows = _with_vectors(stream_features(replicas, loader), source, part, start, first)
        _write(piece, rows, width)
    files = [pieces / f"{number:06d}.parquet" for number in range(len(spans))]
    windows = None
    if by == "recording":
        averaged = pieces / "recordings.parquet"
        windows = average_windows(files, averaged)
        files = [averaged]
    count = _join(files, target) if grid is None else _join_tokens(files, target, grid)
    shutil.rmtree(pieces)
    unreadable = sum(len(part.samples) for part in parts) - (count if windows is None else windows)
    return EmbedResult(target, count, width // math.prod(grid or (1,)), resumed, unreadable, grid, windows)


def _target(out: str | Path, *, tokens: bool) -> Path:
    target = given_path(out)
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; --out takes a file, such as {target / 'embeddings.parquet'}")
    if tokens and target.suffix.lower() not in TOKEN_SUFFIXES:
        raise ConfigError(
            f"{target} is no name of a Parquet file or an npz; give --out {target.with_suffix('.parquet')}"
        )
    if target.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{target} is no name of a table; give --out {target.with_suffix('.parquet')}, .csv or .npz")
    return target


def _spans(parts: Sequence[RowSet], rows: int) -> Iterator[tuple[RowSet, int, int, int]]:
    """Yield (part, its rows from, to, the id of the first)."""
    before = 0
    for part in parts:
        count = len(part.samples)
        for start in range(0, count, rows):
            yield part, start, min(start + rows, count), before + start
        before += count


def _open_pieces(target: Path, network: RawNetwork | RawTokens, parts: Sequence[RowSet], width: int, rows: int) -> Path:
    """Return the folder of pieces, emptied if they were made from something else."""
    pieces = target.with_name(f"{target.name}.pieces")
    keys = [features_key(network, network.view_policy, part.samples) for part in parts]
    sizes, splits = [len(part.samples) for part in parts], [part.splits for part in parts]
    made_from = json.dumps({"keys": keys, "sizes": sizes, "splits": splits, "piece": rows, "width": width})
    note = pieces / "made_from.json"
    if pieces.is_dir() and any(pieces.iterdir()) and not note.is_file():
        raise ConfigError(f"{pieces} holds files that embed did not write, and is left alone; give another --out")
    # Samples that cannot be told apart (a key of None) are never gone on with.
    if None in keys or not _says(note, made_from):
        shutil.rmtree(pieces, ignore_errors=True)
        with whole_file(note) as file:
            file.write(made_from.encode())
    return pieces


def _says(note: Path, made_from: str) -> bool:
    """Whether a note is there and says this; a damaged one says something else."""
    try:
        return note.is_file() and read_text(note) == made_from
    except ConfigError:
        return False


def _is_whole(piece: Path) -> bool:
    """Whether a piece is there, and all of its pages have the checksum that they were written with."""
    import pyarrow.parquet as pq

    try:
        return piece.is_file() and pq.read_table(piece, page_checksum_verification=True) is not None
    except Exception:  # pyarrow raises several kinds for a damaged file, which is made anew
        return False


def _with_vectors(
    stream: Iterator[tuple[Tensor, Tensor | None]], source: Source, part: RowSet, start: int, first: int
) -> Iterator[dict[str, Any]]:
    return ({**rows.columns, "vector": rows.outputs} for rows in stream_rows(stream, source, part, start, first))


def _write(path: Path, batches: Iterator[dict[str, Any]], width: int) -> None:
    """Write one piece, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = dict(zip(PLACES, (pa.string(), pa.int64()), strict=True))
    # Everything is computed before the file is opened: only what goes wrong in writing speaks of the file.
    tables = [
        pa.Table.from_arrays(
            [
                pa.array(columns["id"], pa.int64()),
                *(pa.array(columns[name], pa.string()) for name in ("path", "split", "label")),
                *(pa.array(columns[name], kind) for name, kind in kinds.items() if name in columns),
                pa.FixedSizeListArray.from_arrays(pa.array(columns["vector"].flatten().numpy()), width),
            ],
            names=["id", "path", "split", "label", *(name for name in kinds if name in columns), "vector"],
        )
        for columns in batches
    ]
    with whole_file(path) as file:
        pq.write_table(pa.concat_tables(tables), file, write_page_checksum=True)


def _join(files: Sequence[Path], target: Path) -> int:
    """Write the pieces into one file of the kind that its name tells, and return its rows."""
    kind = target.suffix.lower()
    if kind == ".npz":
        return join_as_array(files, target, ())
    return join_as_csv(files, target) if kind == ".csv" else join_as_parquet(files, target)


def _join_tokens(files: Sequence[Path], target: Path, grid: tuple[int, ...]) -> int:
    """Write the pieces into one file of the kind that its name tells, and return its samples."""
    return (join_as_array if target.suffix.lower() == ".npz" else join_as_rows)(files, target, grid)
