"""The runs below a folder: what each is, how far it came, and which of them nobody needs any more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import Timeout

from ssl_registry._system.locking import lock_file, lock_folder
from ssl_registry._system.terminal import one_line
from ssl_registry.errors import ConfigError
from ssl_registry.runs.folder import WRITTEN, Run

__all__ = ["Entry", "State", "best", "disposable", "find_runs", "remove"]

State = Literal["finished", "interrupted", "diverged", "running", "damaged"]
DEEPEST = 5  # of runs below the folder: a bench has runs/BENCH/METHOD/DATA/SEED
# Beside what `Run` lists; none of them is work of the user's.
LOCKS = (".lock", ".evaluations.lock")


@dataclass(frozen=True)
class Entry:
    """A run.

    Args:
        folder: of the run.
        method, data, backbone: of its configuration; None where that does not say.
        state: ``finished``; ``interrupted``, and it can be resumed; ``diverged``; ``running``, in this moment; or
            ``damaged``, with a file that cannot be read.
        score: accuracy in [0, 1] of the trained features, the better of linear probe and k-NN; None without labels.
        protocol: by which that was reached.
        size: bytes in the folder.
        changed: when something in it was written last, in seconds since 1970.
        settings: a text that is the same for two runs of the same settings; None for a damaged one.
        problem: why it is damaged.
    """

    folder: Path
    method: str | None
    data: str | None
    backbone: str | None
    state: State
    score: float | None
    protocol: str | None
    size: int
    changed: float
    settings: str | None
    problem: str = ""

    @property
    def others(self) -> tuple[str, ...]:
        """Names in the folder that training did not write: exports, fine-tuned networks, notes."""
        known = {*WRITTEN, *LOCKS}
        return tuple(sorted(path.name for path in self.folder.iterdir() if path.name not in known))


def find_runs(folder: Path) -> list[Entry]:
    """Return the runs in a folder and below it, the last changed first; links are not followed.

    Raises:
        ConfigError: if it is no folder.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise ConfigError(f"{folder} {what}; give the folder that holds your runs, such as runs/")
    return sorted((_read(Run(place)) for place in _places(folder, DEEPEST)), key=lambda entry: -entry.changed)


def best(entries: Sequence[Entry]) -> list[Entry]:
    """Return the finished run with the best score for each data set; scores of different data do not compare."""
    leading: dict[str | None, Entry] = {}
    for entry in entries:
        before = leading.get(entry.data)
        if entry.state == "finished" and entry.score is not None:
            leading[entry.data] = entry if before is None or entry.score > (before.score or 0) else before
    return list(leading.values())


def disposable(entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
    """Return the runs that nobody needs any more, and why.

    These are interrupted and diverged ones, and finished ones whose settings a later run has finished with again. A run
    that is going on is never among them, nor one that is damaged.

    Args:
        entries: as `find_runs` gives them, the last changed first.
    """
    finished: dict[str, Entry] = {}
    found: list[tuple[Entry, str]] = []
    for entry in entries:
        if entry.state in ("interrupted", "diverged"):
            found.append((entry, entry.state))
        elif entry.state == "finished" and entry.settings is not None:
            newer = finished.setdefault(entry.settings, entry)
            if newer is not entry:
                found.append((entry, f"superseded by {newer.folder}"))
    return found


def remove(entry: Entry) -> bool:
    """Remove what training wrote in a run's folder, and the folder if nothing else is in it.

    Returns:
        Whether it was removed; False where it holds something that training did not write, which is left as it is.

    Raises:
        ConfigError: if a process is writing the run by now, or it cannot be removed.
    """
    if entry.others:
        return False
    with lock_folder(entry.folder):
        if entry.others:  # made since
            return False
        try:
            for name in WRITTEN:
                path = entry.folder / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{error.filename or entry.folder} cannot be removed: {error.strerror}") from error
    for name in LOCKS:
        (entry.folder / name).unlink(missing_ok=True)
    entry.folder.rmdir()
    return True


def _places(folder: Path, deep: int) -> Iterator[Path]:
    run = Run(folder)
    if run.settings.is_file() and run.is_ours:
        yield folder
        return
    if deep:
        try:
            inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
        except OSError:  # a folder that may not be entered has no runs of this user
            return
        for path in inner:
            yield from _places(path, deep - 1)


def _read(run: Run) -> Entry:
    size, changed = _measured(run.folder)
    try:
        settings, results = run.read_settings(), run.read_results()
    except ConfigError as error:
        return Entry(run.folder, None, None, None, "damaged", None, None, size, changed, None, one_line(error))
    state: State = "interrupted" if results.steps is None else "diverged" if results.diverged else "finished"
    scores = {name: found.get("trained") for name, found in (("linear", results.linear), ("knn", results.knn))}
    score, protocol = max(((value, name) for name, value in scores.items() if value is not None), default=(None, None))
    return Entry(
        run.folder,
        settings.method,
        settings.run.data,
        settings.run.backbone,
        "running" if _is_running(run.folder) else state,
        score,
        protocol,
        size,
        changed,
        repr(sorted(settings.values.items(), key=lambda item: item[0])),
    )


def _measured(folder: Path) -> tuple[int, float]:
    """Return the bytes in a folder, and when it changed last."""
    size, changed = 0, folder.stat().st_mtime
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(place, name))
            except OSError:  # gone since
                continue
            size += status.st_size
            # Whoever looks at a run takes its locks.
            changed = max(changed, status.st_mtime) if name not in LOCKS else changed
    return size, changed


def _is_running(folder: Path) -> bool:
    """Whether a process holds the run, on whichever machine."""
    if not (folder / LOCKS[0]).is_file():
        return False
    try:
        with lock_file(folder / LOCKS[0], wait=False):
            return False
    except Timeout:
        return True
    except OSError:  # a folder of somebody else's, which this user cannot lock
        return False
