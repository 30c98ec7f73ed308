"""`SourceKind`: a kind of source, and the table of all kinds. No torch: help and errors are made from it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_registry.data.images.listing import IMAGE_SUFFIXES
from ssl_registry.discovery.tables import PluginTable
from ssl_registry.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from ssl_registry.data.options import DataOptions
    from ssl_registry.data.source import Source

__all__ = ["REMOTE", "SourceKind", "SourceTable", "nearest_path", "place_of"]

# What every error about a wrong name ends with; the whole list of sources would hide what was wrong.
DATA = (
    "Data can be a folder, a file (x.csv, x.parquet, x.npz, x.npy, x.pt, x.tar) or a name, such as digits; "
    "`ssl-registry train METHOD --help` lists all of it under --data."
)
# What an address begins with.
REMOTE = ("http", "https", "pipe", "s3", "gs")
# What to do with files that are read by nothing here.
TO_CSV = 'python -c "import pandas; pandas.{reader}({path!r}).to_csv({csv!r}, index=False)"'
CONVERT = {
    **dict.fromkeys((".zip", ".gz", ".7z", ".rar", ".bz2", ".xz", ".zst"), "unpack it first"),
    **dict.fromkeys((".xls", ".xlsx", ".ods"), TO_CSV.replace("{reader}", "read_excel")),
    **dict.fromkeys((".feather", ".arrow"), TO_CSV.replace("{reader}", "read_feather")),
    **dict.fromkeys((".jsonl", ".ndjson"), TO_CSV.replace("{reader}({path!r})", "read_json({path!r}, lines=True)")),
    ".json": TO_CSV.replace("{reader}", "read_json"),
    **dict.fromkeys((".pkl", ".pickle"), "a pickle can run code; save its arrays: numpy.savez(path, X=..., y=...)"),
    **dict.fromkeys((".h5", ".hdf5"), "save an array of it: numpy.save(path, h5py.File({path!r})[KEY][:])"),
    ".mat": "save an array of it: numpy.save(path, scipy.io.loadmat({path!r})[KEY])",
    **dict.fromkeys(
        (".edf", ".bdf", ".gdf"), "save its signals: numpy.save(path, mne.io.read_raw({path!r}).get_data())"
    ),
    ".txt": "a table needs a header and is called .csv; of a list of files give the folder",
}
# Names that no kind can have: addresses, and what a run records of samples that Python gave.
RESERVED = (*REMOTE, "python")


@dataclass(frozen=True)
class SourceKind:
    """A kind of source: when it is meant, and how it is opened.

    A user chooses a kind by its name and a colon, ``NAME:REST``, or leaves it to `matches`.

    Args:
        name: of the kind; a word without a colon.
        help: what the user has, such as ``a folder of images``.
        open: makes a `Source` from what the user wrote, without the name and its colon, and the options.
        matches: whether what the user wrote means this kind. It is asked often, so it imports neither torch nor the
            library that reads the data. Default: never, the name alone chooses it.
        written: how a user writes it, for help and docs; default: the name and a colon.
        names: words that mean it by themselves, among which the nearest to a wrong one is sought.
        extra: the extra of this package that it needs.
        local: whether it only reads files of this machine, for the core's kinds: of others, a run that names one asks
            for ``--trust`` before it is opened again.
        takes: those of the options ``modality``, ``label_column``, ``sample_column``, ``drop_columns``, ``test_data``,
            ``value_range``, ``window_length`` and ``window_stride`` that mean something to it; the others are refused
            before it is opened. Default: all of them.

    Example:
        >>> kind = SourceKind("hdf5", "signals in HDF5", open=print, matches=lambda spec: spec.endswith(".h5"))
        >>> kind.matches("x.h5"), kind.described
        (True, 'hdf5:... (signals in HDF5)')
    """

    name: str
    help: str
    open: Callable[[str, DataOptions], Source]
    matches: Callable[[str], bool] = lambda spec: False
    written: tuple[str, ...] = ()
    names: Callable[[], Iterable[str]] = tuple
    extra: str = ""
    local: bool = False
    takes: tuple[str, ...] = (
        *("modality", "label_column", "sample_column", "drop_columns", "test_data", "value_range"),
        *("window_length", "window_stride"),
    )

    @property
    def described(self) -> str:
        """How it is written and what it is, on one line."""
        return f"{', '.join(self.written) or f'{self.name}:...'} ({self.help})"


class SourceTable(PluginTable[SourceKind]):
    """The kinds of sources, in the order in which they are asked; plugins' come last.

    Args:
        own: the core's.
    """

    def __init__(self, own: Sequence[SourceKind]) -> None:
        super().__init__("source", {kind.name: kind for kind in own}, check=_check, reserved=RESERVED)

    def find(self, spec: str) -> tuple[SourceKind, str]:
        """Return the kind that a user means, and what they wrote without its name.

        Raises:
            DataError: if it is no kind's, or that of several; it lists what there is, and the plugins that are broken.
            PluginError: if it names a plugin's kind that cannot be used.
        """
        if not spec.strip():
            raise DataError(f"the data's name is empty. {DATA}")
        prefix, colon, rest = spec.partition(":")
        named = self.get(prefix) if colon else None
        if named is not None:
            return named, rest
        meant = next((kind for kind in self.own.values() if kind.matches(spec)), None)
        if meant is not None:
            return meant, spec
        found, problems = self._of_plugins(spec)
        if len(found) > 1:
            ways = " or ".join(f"{kind.name}:{spec}" for kind in found)
            raise DataError(f"{spec!r} can be read by several plugins; say which: {ways}")
        if not found:
            raise DataError(self._unknown(spec) + "".join(f" Not asked: {problem}." for problem in problems))
        return found[0], spec

    def describe(self) -> str:
        """List every kind, how it is written and what it is; of plugins by their metadata alone."""
        plugins = [f"{info.name}:... ({info.summary}; {info.origin})" for info in self.entries() if info.status == "ok"]
        return ", ".join([*(kind.described for kind in self.own.values()), *plugins])

    def _of_plugins(self, spec: str) -> tuple[list[SourceKind], list[str]]:
        """Return the plugins' kinds that match, and what is wrong with those that cannot be asked."""
        found, problems = [], []
        for info in self.entries():
            try:
                kind = self.load(info)
                if kind.matches(spec):
                    found.append(kind)
            except Exception as error:  # a plugin breaks only itself, also by what its `matches` raises
                problems.append(" ".join(str(error).split()) or f"{info.name} ({info.origin}): {type(error).__name__}")
        return found, problems

    def _unknown(self, spec: str) -> str:
        path = Path(spec).expanduser()
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            folder = next((up for up in path.parents if "*" not in str(up)), path.parent)
            return f"{spec} names images one by one; give their folder: --data {folder}. {DATA}"
        if path.is_file():
            advice = CONVERT.get(suffix, "").format(path=spec, csv=str(path.with_suffix(".csv")))
            advice = f": {advice}" if advice else ""
            return f"{spec} is a file of an unknown kind{advice}. {DATA}"
        beside = nearest_path(path)
        # Written as a path, or like one that there is: a file on this disk is what most people mean.
        if path.suffix or len(path.parts) > 1 or spec.endswith(("/", "\\")) or beside:
            return f"there is no file or folder {place_of(spec)}.{beside} {DATA}"
        near = did_you_mean(spec, [*self.names(), *(name for kind in self.own.values() for name in kind.names())])
        return f"there is no data {spec!r}: it is neither a path nor a known name.{near} {DATA}"


def place_of(spec: str) -> str:
    """Return a missing path in words; with the folder that it was sought in where it does not tell that itself.

    >>> place_of("/photos")
    "'/photos'"
    """
    return repr(spec) if Path(spec).expanduser().is_absolute() else f"{spec!r} in {Path.cwd()}"


def nearest_path(path: Path) -> str:
    """Ask whether an entry of the nearest folder that there is was meant, whose name is like the missing one's."""
    folder, missing = path.parent, path.name
    while not folder.is_dir() and folder != folder.parent:
        folder, missing = folder.parent, folder.name
    try:
        entries = {entry.name.lower(): entry for entry in folder.iterdir() if not entry.name.startswith(".")}
    except OSError:  # a folder that may not be entered, or a name of 300 letters
        return ""
    near = difflib.get_close_matches(missing.lower(), entries, n=3, cutoff=0.7)
    shown = [f"{entries[name]}{'/' if entries[name].is_dir() else ''}" for name in near]
    return f" Did you mean {' or '.join(map(repr, shown))}?" if shown else ""


def _check(found: Any) -> SourceKind:
    if not isinstance(found, SourceKind):
        raise TypeError(f"is a {type(found).__name__}, not a SourceKind")
    return found
