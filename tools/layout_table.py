"""Write docs/reference/layouts.md: what ``--data`` makes of usual layouts, found by opening each of them.

``python tools/layout_table.py``; needs the extras parquet and webdataset.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from PIL import Image
from scipy.io import wavfile

from ssl_registry.data import open_source
from ssl_registry.errors import SSLRegistryError

PAGE = Path(__file__).parent.parent / "docs/reference/layouts.md"
HEAD = """# What `--data` makes of a layout

Each row was made by opening such files. The last column is the line that every command logs, or the error. Where it
decides otherwise than you mean, say it yourself: `--data.label COLUMN`, `--data.sample COLUMN`, `--data.test PATH`,
`--data.drop COLUMN`. The rules are in [Data](../data.md).

<!-- Written by tools/layout_table.py. -->
"""


Write = Callable[[], object]


def image() -> bytes:
    """Return a small PNG."""
    stream = BytesIO()
    Image.new("RGB", (4, 4), (90, 120, 60)).save(stream, "PNG")
    return stream.getvalue()


def images(*folders: str, each: int = 5) -> Write:
    """Write images into folders, or at paths with a suffix."""

    def write() -> None:
        for folder in folders:
            paths = [Path(folder)] if Path(folder).suffix else [Path(folder) / f"{i}.png" for i in range(each)]
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image())

    return write


def half(number: int) -> float:
    """Return the cell of a column without a kind."""
    return number * 0.5


def table(columns: str, *, rows: int = 10, names: tuple[str, ...] = ("x.csv",)) -> Write:
    """Write a table, as CSV or Parquet by its name; a column's name tells its values."""
    kinds: dict[str, Callable[[int], Any]] = {
        "label": lambda i: "ab"[i % 2],
        "class": lambda i: "ab"[i % 2],
        "target": lambda i: i % 3,
        "price": lambda i: i / 4,
        "color": lambda i: ("red", "blue", None)[i % 3],
        "since": lambda i: f"2024-01-{i + 1:02d}",
        "member": lambda i: bool(i % 2),
        "gaps": lambda i: None if i % 4 == 0 else float(i),
        "name": lambda i: f"name {i}",
        "is_test": lambda i: i >= rows - 2,
        "split": lambda i: ("train", "train", "val", "test")[i % 4],
        "sample": lambda i: i // 2,
        "time": lambda i: i % 2,
    }

    def write() -> None:
        frame = pd.DataFrame({name: [kinds.get(name, half)(i) for i in range(rows)] for name in columns.split(",")})
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".csv"):
                frame.to_csv(name, index=False)
            else:
                frame.to_parquet(name, index=False)

    return write


def text(content: str, encoding: str = "utf-8") -> Write:
    """Write a table as text."""
    return lambda: Path("x.csv").write_bytes(content.encode(encoding))


def parquet(columns: Mapping[str, Any], *names: str, classes: list[str] | None = None) -> Write:
    """Write Parquet files of these columns."""

    def write() -> None:
        found = pa.table(dict(columns))
        if classes is not None:
            features = {"info": {"features": {"label": {"names": classes}}}}
            found = found.replace_schema_metadata({b"huggingface": json.dumps(features).encode()})
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(found, name)

    return write


def arrays(**found: Any) -> Write:
    """Write an ``.npz``."""
    return lambda: np.savez("x.npz", **found)


def shards(*names: str, members: tuple[str, ...] = ("png", "cls")) -> Write:
    """Write shards of six samples."""

    def write() -> None:
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(name, "w") as archive:
                for number in range(6):
                    for suffix in members:
                        data = str(number % 2).encode() if suffix == "cls" else image()
                        info = tarfile.TarInfo(f"{number:03d}.{suffix}")
                        info.size = len(data)
                        archive.addfile(info, BytesIO(data))

    return write


def recordings(suffix: str, *folders: str) -> Write:
    """Write three recordings of two channels and several lengths into folders, a file each."""

    def write() -> None:
        for folder in folders:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for number in range(3):
                x = np.arange(2.0 * (40 + 10 * number)).reshape(-1, 2)  # [time, channels]
                name = f"{folder}/{number}{suffix}"
                if suffix == ".wav":
                    wavfile.write(name, 16_000, x.astype(np.int16))
                elif suffix == ".npy":
                    np.save(name, x.T.astype(np.float32))
                else:
                    frame = pd.DataFrame({"time": np.arange(len(x)), "x": x[:, 0], "y": x[:, 1]})
                    if suffix == ".csv":
                        frame.to_csv(name, index=False)
                    else:
                        frame.to_parquet(name, index=False)

    return write


def moments(rows: Mapping[str, int], *, labels: bool = True) -> Write:
    """Write a table of moments: so many for each sample."""
    lines = [f"{name},{at},{at}.5,{name[0]}" for name, count in rows.items() for at in range(count)]
    cut = lines if labels else [line.rpartition(",")[0] for line in lines]
    head = "sample,time,x,label" if labels else "sample,time,x"
    return text("\n".join([head, *cut]) + "\n")


def links(target: str, *names: str) -> Write:
    """Write links to a folder."""

    def write() -> None:
        for name in names:
            Path(name).symlink_to(target)

    return write


def both(*writes: Write) -> Write:
    """Write several things."""
    return lambda: [write() for write in writes]


@dataclass(frozen=True)
class Layout:
    """Files as people have them.

    Args:
        what: in words.
        data: as it is written behind ``--data``.
        write: makes the files in the current folder.
        options: further options of `open_source`.
    """

    what: str
    data: str
    write: Write
    options: Mapping[str, Any] = field(default_factory=dict)


X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
CELL = {"bytes": image(), "path": None}
FOLDERS = [
    Layout("images side by side", "photos", images("photos")),
    Layout("class folders", "photos", images("photos/cat", "photos/dog")),
    Layout(
        "`train/` and `val/` with class folders",
        "set",
        images(*[f"set/{p}/{c}" for p in ("train", "val") for c in "ab"]),
    ),
    Layout(
        "the same, one folder deeper, in capitals",
        "data",
        images(*[f"data/set/{p}/{c}" for p in ("Train", "Test") for c in "ab"]),
    ),
    Layout("`train/`, `val/` and `test/`", "set", images("set/train", "set/val", "set/test")),
    Layout(
        "`train/`, `test/` and `unlabeled/`",
        "set",
        images("set/train/a", "set/train/b", "set/test/a", "set/test/b", "set/unlabeled"),
    ),
    Layout("`train/`, `test/` and `masks/`", "set", images("set/train", "set/test", "set/masks")),
    Layout(
        "`CLASS/train/` and `CLASS/test/`",
        "set",
        images(*[f"set/{c}/{p}" for c in ("cat", "dog") for p in ("train", "test")]),
    ),
    Layout("`train/` beside classes", "set", images("set/train", "set/cat", "set/dog")),
    Layout("`val/` and `test/` alone", "set", images("set/val", "set/test")),
    Layout("one stray image beside class folders", "photos", images("photos/cat", "photos/dog", "photos/logo.png")),
    Layout("a pile of images beside folders", "photos", images("photos/cat", "photos/dog", "photos")),
    Layout("thumbnails of a NAS", "photos", images("photos/cat", "photos/dog", "photos/cat/@eaDir")),
    Layout(
        "formats that are not read",
        "photos",
        both(images("photos"), lambda: Path("photos/a.avif").write_bytes(b"x")),
    ),
    Layout(
        "two links to one folder",
        "photos",
        both(images("store", "photos/a"), links("../store", "photos/b", "photos/c")),
    ),
    Layout(
        "another folder as the test part",
        "mine",
        images(*[f"{p}/{c}" for p in ("mine", "other") for c in "ab"]),
        {"test_data": "other"},
    ),
]
TABLES = [
    Layout("numbers, `label`", "x.csv", table("a,b,label")),
    Layout("numbers, `class`", "x.csv", table("a,b,class")),
    Layout("numbers, two columns of labels", "x.csv", table("a,b,label,target")),
    Layout("a label of another name", "x.csv", table("a,b,price"), {"label_column": "price"}),
    Layout("words, dates, booleans and gaps", "x.csv", table("color,since,member,gaps,name")),
    Layout("the index that pandas writes", "x.csv", text(",a,b\n0,1,2\n1,3,5\n")),
    Layout("row names as R writes them", "x.csv", text("a,b\nr1,1,2\nr2,3,5\n")),
    Layout("an `id`", "x.csv", text("id,a\n7,1\n8,3\n9,3\n")),
    Layout("semicolons, decimal commas, a byte order mark", "x.csv", text("a;b\n1,5;2\n2,5;4\n", "utf-8-sig")),
    Layout("`is_test` of True and False", "x.csv", table("a,b,label,is_test")),
    Layout("`split` of words", "x.csv", table("a,b,label,split", rows=12)),
    Layout("labels with gaps", "x.csv", text("a,label\n1,x\n2,y\n3,\n4,x\n5,y\n")),
    Layout("labels that are fractions", "x.csv", text("a,target\n1,0.5\n2,1.5\n3,2.5\n4,3.5\n5,9.5\n")),
    Layout("labels 0, 1, 2 and -1", "x.csv", text("a,label\n1,0\n2,1\n3,2\n4,-1\n5,0\n6,1\n")),
    Layout("words among numbers", "x.csv", text("a\n1\n2\nred\n4\n5\nblue\n")),
    Layout("`train.csv`, `test.csv`", "*.csv", table("a,b,label", names=("train.csv", "test.csv"))),
    Layout(
        "`test.csv` without labels, as Kaggle has it",
        "*.csv",
        both(table("a,b,label", names=("train.csv",)), table("a,b", names=("test.csv",))),
    ),
    Layout("one row a moment", "x.csv", table("sample,time,a,b", rows=20)),
    Layout(
        "Parquet with an index of pandas",
        "x.parquet",
        lambda: pd.DataFrame({"a": [1.0, 2, 4]}, index=[3, 5, 8]).to_parquet("x.parquet"),
    ),
    Layout(
        "`train/0.parquet`, `test/0.parquet`, as the Hub converts",
        "conv/*/*.parquet",
        table("a,b,label", names=("conv/train/0.parquet", "conv/test/0.parquet")),
    ),
    Layout(
        "`values_2.parquet` beside `train.parquet`",
        "*.parquet",
        table("a,b,label", names=("train.parquet", "values_2.parquet")),
    ),
    Layout(
        "images with names of classes",
        "x.parquet",
        parquet({"image": [CELL] * 10, "label": [0, 1] * 5}, "x.parquet", classes=["cat", "dog"]),
    ),
    Layout(
        "images whose labels are all -1",
        "x.parquet",
        parquet({"image": [CELL] * 4, "label": [-1] * 4}, "x.parquet", classes=["cat", "dog"]),
    ),
    Layout("lists of numbers", "x.parquet", parquet({"x": [[1.0, 2.0], [3.0, 5.0]], "note": ["a", "b"]}, "x.parquet")),
]
OTHERS = [
    Layout("`X` and `y`", "x.npz", arrays(X=X, y=Y)),
    Layout("`X_train`, `X_val`, `X_test`", "x.npz", arrays(X_train=X, X_val=X[:4], X_test=X[:5])),
    Layout(
        "`is_test` of 0 and 1, another key", "x.npz", arrays(X=X, y=Y, is_test=(Y * (X[:, 0] > 19)).astype(int), when=Y)
    ),
    Layout("`classes` as bytes", "x.npz", arrays(X=X, y=Y, classes=np.array([b"cat", b"dog"]))),
    Layout("`train-0.tar`, `val-0.tar`", "*.tar", shards("train-0.tar", "val-0.tar")),
    Layout(
        "`cifar_train.tar`, `cifar_test.tar`, `cifar_unlabeled.tar`",
        "*.tar",
        shards("cifar_train.tar", "cifar_test.tar", "cifar_unlabeled.tar"),
    ),
    Layout("`000.v0.png` and `000.v1.png` in a shard", "x.tar", shards("x.tar", members=("v0.png", "v1.png"))),
]


ONE_A_CLASS = {"a1": 30, "a2": 44, "b1": 25, "b2": 61}
WINDOW, HALF = {"window_length": 20}, {"window_length": 20, "window_stride": 10}
RAGGED = [np.arange(2.0 * length).reshape(2, length) for length in (30, 44, 25, 61)]
PADDED = np.stack([np.pad(one, ((0, 0), (0, 61 - one.shape[1])), constant_values=np.nan) for one in RAGGED])
RECORDINGS = [
    Layout("a folder of CSV, of several lengths", "walks", recordings(".csv", "walks")),
    Layout("the same, cut into windows", "walks", recordings(".csv", "walks"), WINDOW),
    Layout("class folders of CSV", "gait", recordings(".csv", "gait/walk", "gait/run"), HALF),
    Layout("class folders of Parquet", "gait", recordings(".parquet", "gait/walk", "gait/run"), WINDOW),
    Layout("class folders of `.npy`", "gait", recordings(".npy", "gait/walk", "gait/run"), WINDOW),
    Layout("class folders of WAV", "words", recordings(".wav", "words/yes", "words/no"), WINDOW),
    Layout(
        "`train/` and `test/` with class folders",
        "gait",
        recordings(".csv", *[f"gait/{p}/{c}" for p in ("train", "test") for c in ("walk", "run")]),
        WINDOW,
    ),
    Layout(
        "WAV beside a table of them",
        "words",
        both(recordings(".wav", "words/yes", "words/no"), lambda: Path("words/info.csv").write_text("a\n1\n")),
        WINDOW,
    ),
    Layout("recordings shorter than the window", "walks", recordings(".csv", "walks"), {"window_length": 50}),
    Layout("one row a moment, samples of several lengths", "x.csv", moments(ONE_A_CLASS)),
    Layout("the same, in windows that overlap", "x.csv", moments(ONE_A_CLASS), HALF),
    Layout(
        "one long recording whose label changes",
        "x.csv",
        text("time,x,label\n" + "".join(f"{i},{i % 7},{'walk' if i < 50 else 'run'}\n" for i in range(100))),
        WINDOW,
    ),
    Layout("a file a recording, without class folders", "walks/*.csv", recordings(".csv", "walks"), WINDOW),
    Layout(
        "`numpy.savez(path, *signals, y=labels)`",
        "x.npz",
        lambda: np.savez("x.npz", *RAGGED, y=np.array([0, 0, 1, 1])),
        WINDOW,
    ),
    Layout("signals filled up with NaN", "x.npz", arrays(X=PADDED, y=np.array([0, 0, 1, 1])), WINDOW),
    Layout(
        "signals filled up, and `lengths`",
        "x.npz",
        arrays(X=np.nan_to_num(PADDED), lengths=np.array([30, 44, 25, 61])),
        WINDOW,
    ),
    Layout(
        "lists of several lengths",
        "x.parquet",
        parquet({"x": [one.tolist() for one in RAGGED], "label": [0, 0, 1, 1]}, "x.parquet"),
        WINDOW,
    ),
    Layout("signals of one length, cut into shorter ones", "x.npz", arrays(X=np.zeros((6, 2, 50)), y=Y[:6]), WINDOW),
]


def outcome(layout: Layout) -> str:
    """Open a layout in a folder of its own; return the line that tells what was decided, or the error."""
    with TemporaryDirectory() as folder, chdir(folder):
        layout.write()
        try:
            found = open_source(layout.data, image_size=None, **layout.options)
            told = "; ".join([found.decided, *(note for note in found.notes if "lie beside" in note)])
        except SSLRegistryError as error:
            told = f"**error**: {error}"
        return told.replace(f"{Path(folder).resolve()}{os.sep}", "").replace(f"{folder}{os.sep}", "")


SECTIONS = {
    "Folders of images": FOLDERS,
    "Tables": TABLES,
    "Recordings": RECORDINGS,
    "Arrays and shards": OTHERS,
}


def page() -> str:
    """Return the page."""
    lines = [HEAD]
    for title, layouts in SECTIONS.items():
        lines.append(f"## {title}\n\n| what you have | `--data` | what comes of it |\n|---|---|---|")
        for layout in layouts:
            words = {"test_data": "--data.test", "label_column": "--data.label"}
            words |= {"window_length": "--data.window", "window_stride": "--data.stride"}
            given = " ".join([layout.data, *(f"{words[name]} {value}" for name, value in layout.options.items())])
            told = outcome(layout).replace("|", "\\|").replace("*", "\\*").replace("\\*\\*error\\*\\*", "**error**")
            lines.append(f"| {layout.what} | `{given}` | {told} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
