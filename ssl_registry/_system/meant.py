"""What was meant by a path that should be a run's: samples, a folder of runs, or a run with a name that is near."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

__all__ = ["what_was_meant"]

SUFFIXES = {
    "images": {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"},
    "data": {".csv", ".tsv", ".parquet", ".npz", ".npy", ".wav"},
}
MOST_FILES = 1000  # that are looked at
NEAR = 0.6  # least likeness of names, as of misspelt options


def what_was_meant(path: Path) -> str:
    """Return a sentence to stand behind a message that a path is no run, with a stop and a space before it; or nothing.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> (folder / "runs/first/checkpoints").mkdir(parents=True)
        >>> what_was_meant(folder / "runs/frist").replace(str(folder), "")
        ". Did you mean '/runs/first'?"
    """
    try:
        if path.is_file():
            kind = _kind(path.name)
            one = {"images": "an image", "data": "a file of data"}
            return "" if kind is None else f". It is {one[kind]}: samples go behind --data, as in --data {path}"
        if not path.is_dir():
            return _near(path)
        if _is_run(path) or (path / "config.yaml").is_file():  # one without what was sought
            return ""
        runs = [child for child in _folders(path) if _is_run(child)]
        if runs:
            return f". It holds runs: give one of them, such as {runs[0]}"
        kinds = Counter(kind for name in islice(_names(path), MOST_FILES) if (kind := _kind(name)))
    except OSError:  # a name of 300 letters, a folder that may not be entered
        return ""
    return f". It holds {kinds.most_common(1)[0][0]}: samples go behind --data, as in --data {path}" if kinds else ""


def _near(path: Path) -> str:
    """Ask whether a run of the nearest folder that there is was meant."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    runs = {str(run.relative_to(folder)): run for run in _runs(folder)}
    missing = str(path.relative_to(folder))
    near = difflib.get_close_matches(missing, runs, n=3, cutoff=NEAR)
    if not near:  # the run itself, in another folder
        near = [name for name in runs if Path(name).name == path.name][:3]
    return f". Did you mean {' or '.join(repr(str(runs[name])) for name in near)}?" if near else ""


def _runs(folder: Path) -> Iterator[Path]:
    """Yield the runs in a folder and in the folders of it."""
    for child in _folders(folder):
        if _is_run(child):
            yield child
        else:
            yield from (run for run in _folders(child) if _is_run(run))


def _is_run(folder: Path) -> bool:
    return (folder / "checkpoints").is_dir()


def _folders(folder: Path) -> list[Path]:
    try:
        found = [Path(entry.path) for entry in islice(os.scandir(folder), MOST_FILES) if entry.is_dir()]
    except OSError:  # one that may not be entered
        return []
    return sorted(one for one in found if not one.name.startswith("."))


def _names(folder: Path) -> Iterator[str]:
    for _, _, names in os.walk(folder):
        yield from names


def _kind(name: str) -> str | None:
    suffix = os.path.splitext(name)[1].lower()
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)
