"""The kinds of sources, one line each; the file that opens a kind is imported when it is opened.

A new kind of source is a file in this folder and a line in `SOURCES`. In a plugin it is a `SourceKind` and a line in
its ``pyproject.toml``, in the group ``ssl_registry.sources``.
"""

from __future__ import annotations

from pathlib import Path

from ssl_registry.data.kinds import REMOTE, SourceKind, SourceTable
from ssl_registry.data.sources.torchvision_names import set_names
from ssl_registry.discovery.tables import lazily

__all__ = ["ARRAY_SUFFIXES", "SOURCES", "TEXT_SUFFIXES"]

ARRAY_SUFFIXES = (".npz", ".npy", ".pt")
TEXT_SUFFIXES = (".csv", ".tsv")
FILES = "ssl_registry.data.sources"


def _is_array_file(spec: str) -> bool:
    path = Path(spec).expanduser()
    return path.suffix.lower() in ARRAY_SUFFIXES and path.is_file()


def _is_text_table(spec: str) -> bool:
    path = Path(spec).expanduser()
    return path.suffix.lower() in TEXT_SUFFIXES and (path.is_file() or any(sign in spec for sign in "*?["))


def _is_shards(spec: str) -> bool:
    return spec.partition(":")[0] in REMOTE or spec.endswith((".tar", ".tar.gz", ".tgz"))


SOURCES = SourceTable(
    [
        SourceKind(
            "digits",
            "handwritten digits, in every installation",
            open=lazily(f"{FILES}.digits:digits"),
            matches=lambda spec: spec == "digits",
            written=("digits",),
            names=lambda: ["digits"],
            local=True,
            takes=(),
        ),
        SourceKind(
            "scattered-digits",
            "the same at random places, sizes and angles, with clutter: what raw pixels do not tell",
            open=lazily(f"{FILES}.scattered:scattered_digits"),
            matches=lambda spec: spec == "scattered-digits",
            written=("scattered-digits",),
            names=lambda: ["scattered-digits"],
            local=True,
            takes=(),
        ),
        SourceKind(
            "parquet",
            "a table with images, signals or features",
            open=lazily(f"{FILES}.parquet:parquet"),
            matches=lambda spec: spec.endswith(".parquet"),
            written=("x.parquet", "'data/*.parquet'"),
            extra="parquet",
            local=True,
        ),
        SourceKind(
            "hf",
            "a Hugging Face data set on this disk, or a folder that save_to_disk wrote",
            open=lazily(f"{FILES}.hugging_face:hugging_face"),
            written=("hf:NAME", "hf:FOLDER"),
            extra="datasets",
            local=True,
        ),
        SourceKind(
            "shards",
            "images in WebDataset's layout",
            open=lazily(f"{FILES}.shards.source:shards"),
            matches=_is_shards,
            written=("'shards/*.tar'", "'https://host/{000..099}.tar'", "'pipe:COMMAND'"),
            extra="webdataset",
            takes=("test_data", "value_range"),
        ),
        SourceKind(
            "arrays",
            "arrays of images, signals or features",
            open=lazily(f"{FILES}.array_files:array_file"),
            matches=_is_array_file,
            written=tuple(f"x{suffix}" for suffix in ARRAY_SUFFIXES),
            local=True,
            takes=("modality", "label_column", "test_data", "window_length", "window_stride"),
        ),
        SourceKind(
            "csv",
            "a table or signals as text",
            open=lazily(f"{FILES}.csv_files:csv_files"),
            matches=_is_text_table,
            written=("x.csv", "x.tsv", "'data/*.csv'"),
            local=True,
        ),
        SourceKind(
            "folder",
            "a folder of images, or of recordings, a file each",
            open=lazily(f"{FILES}.folder:folder"),
            matches=lambda spec: Path(spec).expanduser().is_dir(),
            written=("photos/", "recordings/"),
            extra="tiff",
            local=True,
        ),
        SourceKind(
            "torchvision",
            "a data set that torchvision knows, in the folder of --data-root",
            open=lazily(f"{FILES}.torchvision_sets:torchvision_set"),
            matches=lambda spec: spec in set_names(),
            written=("CIFAR10", "torchvision:CIFAR10"),
            names=set_names,
            local=True,
            takes=(),
        ),
    ]
)
