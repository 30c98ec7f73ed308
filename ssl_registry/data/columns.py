"""What a column is by its name: label, part, sample, time, index or feature. For CSV, Parquet and arrays alike."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ssl_registry.data.options import DataOptions
from ssl_registry.errors import DataError, did_you_mean

__all__ = ["LABELS", "SAMPLE", "TIME", "Roles", "is_index", "is_nameless", "is_time_like", "plain_name", "read_roles"]

# Names of a column of labels; of several the first of these is taken.
LABELS = ("label", "labels", "target", "targets", "class", "y", "fine_label", "coarse_label")
# Names of a column that tells the part of each row, by 0 and 1 or by words: see `arrays.labels`.
IS_TEST, PARTS = "is_test", ("split", "part", "partition", "subset")
SAMPLE, TIME = "sample", ("time", "timestamp", "datetime")
# Other names of a column of time, read without case and punctuation: t, t_ms, Time (s), elapsed, epoch (ms). A channel
# may be called so too, so the values must rise: see `arrays.times`.
UNIT = "secs?|seconds?|ms|msecs?|millis|milliseconds?|[\u00b5\u03bc]s|usecs?|micros|microseconds?|nanos|nanoseconds?"
TIME_LIKE = re.compile(
    r"((unix|system|sensor|local|utc|elapsed|sample|relative)?(time|timestamp|datetime|clock)|timeelapsed|elapsed|epoch)"
    rf"({UNIT}|s|us|ns|mins?|minutes?|h|hours?|utc|local|\d{{4}})?|t({UNIT}|s|us|ns)?|{UNIT}|date"
)
# Names that tell signals apart where a column of time stands beside them; in a table without time they are features.
SAMPLE_BESIDE_TIME = tuple(
    f"{word}{end}" for word in ("sample", "recording", "series", "sequence", "trial", "segment") for end in ("_id", "")
)
# What pandas, R and databases write beside the data. An index without a name is the first column: `Unnamed: 2` is
# another one, which lost its name. Of the second the values must tell: see `Roles.identifiers`.
INDEX = re.compile(r"(__index_level_\d+__|unnamed:? ?(0(\.\d+)*)?(_level_\d+)?|level_\d+|rownames?|row[ _.]?names?|)")
NAMELESS = re.compile(r"(unnamed:? ?[\d.]*)?")
IDENTIFIER = re.compile(r"(.*[ _])?(id|idx|index|uuid|guid|rowid|row|row number|no|nr|number|key)|.*[a-z]Id")


@dataclass(frozen=True)
class Roles:
    """Columns by what they are.

    Args:
        label: the labels.
        part: tells the part of each row.
        sample, time: make rows the moments of signals.
        guessed: whether ``sample`` is none if each of its values stands in one row.
        features: all others, in their order.
        identifiers: those of the features that number the rows if no two values are equal.
        times: those of the features that are time if they rise within each signal.
        left_out: no features, and why.
    """

    label: str | None
    part: str | None
    sample: str | None
    time: str | None
    features: tuple[str, ...]
    identifiers: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    guessed: bool = False
    times: tuple[str, ...] = ()


def plain_name(name: object) -> str:
    """Return a name as names are compared.

    >>> plain_name(" Is Test ")
    'is_test'
    """
    return re.sub(r"[\s_-]+", "_", str(name).strip().lower())


def is_time_like(name: object) -> bool:
    """Whether a column of this name may be time.

    >>> [is_time_like(name) for name in ("t_ms", "Time [s]", "Elapsed", "timestamp (+0700)", "TimeStamp", "temp", "x")]
    [True, True, True, True, True, False, False]
    """
    return TIME_LIKE.fullmatch(re.sub(r"[\W_]+", "", str(name).lower())) is not None


def is_index(name: object) -> bool:
    """Whether a column of this name numbers the rows.

    >>> [is_index(name) for name in ("__index_level_0__", "Unnamed: 0", "", "indexed")]
    [True, True, True, False]
    """
    return INDEX.fullmatch(str(name).strip().lower()) is not None


def is_nameless(name: object) -> bool:
    """Whether a column has no name, or what pandas writes in its place.

    >>> [is_nameless(name) for name in ("", "Unnamed: 2", "__index_level_0__")]
    [True, True, False]
    """
    return NAMELESS.fullmatch(str(name).strip().lower()) is not None


def read_roles(
    names: Sequence[str],
    options: DataOptions,
    *,
    where: str,
    indices: Collection[str] = (),
    measured: Collection[str] = (),
    moments: bool = False,
    guess: bool = True,
) -> Roles:
    """Tell what each column is, by its name and by what the user says.

    With a column ``sample`` rows are moments of signals: ``time`` or ``timestamp`` orders them, ``y`` is a channel. So
    they are by a column ``recording``, ``trial`` and the like beside one of time, which may be called ``t_ms`` too.

    Args:
        names: of the columns, in order.
        options: ``label_column``, ``sample_column`` and ``drop_columns`` are the user's.
        where: the file, for messages.
        indices: columns that the file itself marks as an index.
        measured: columns that are none by their values, though they are called so.
        moments: rows are moments of a recording even without a column ``sample``.
        guess: whether other names than ``sample`` may tell signals apart.

    Raises:
        DataError: if two columns have one name, or a column that the user names is not there.

    Example:
        >>> found = read_roles(["Unnamed: 0", "a", "Class", "target"], DataOptions(), where="x.csv")
        >>> found.label, found.features, found.left_out
        ('target', ('a',), (('Unnamed: 0', 'an index'), ('Class', 'a second label')))
    """
    stripped = [str(name).strip() for name in names]
    if twice := sorted({name for name in stripped if name and stripped.count(name) > 1}):
        raise DataError(f"{where} has two columns of one name, {twice[0]!r}; expected each name once")
    label = None if options.label_column is None else _column(options.label_column, names, where, "--data.label")
    dropped = [_column(name, names, where, "--data.drop") for name in options.drop_columns]
    left_out = [(name, "dropped by --data.drop") for name in dropped]
    left = [name for name in names if name not in (label, *dropped)]
    index = [name for name in left if (is_index(name) and name not in measured) or name in indices]
    left_out += [(name, "an index") for name in index]
    left = [name for name in left if name not in index]
    plain = {name: plain_name(name) for name in left}
    guessed = False
    if options.sample_column is not None:
        sample: str | None = _column(options.sample_column, names, where, "--data.sample")
    else:
        sample = next((name for name in left if plain[name] == SAMPLE), None)
        if sample is None and guess and any(is_time_like(name) and plain[name] != "date" for name in left):
            sample = next((name for word in SAMPLE_BESIDE_TIME for name in left if plain[name] == word), None)
            guessed = sample is not None
    moments = moments or sample is not None
    time = next((name for name in left if moments and plain[name] in TIME), None)
    part = next((name for known in (IS_TEST, *PARTS) for name in left if plain[name] == known), None)
    words = [word for word in LABELS if not moments or word != "y"]  # beside x and z, a signal's y is a channel
    labels = [name for word in words for name in left if plain[name] == word]
    if label is None and labels:
        label = labels[0]
    left_out += [(name, "a second label") for name in left if name in labels and name != label]
    # ``split`` may be a feature of its own; only its values tell, so it stays one here too.
    roles = {label, sample, time, *labels, part}
    features = tuple(name for name in left if name not in roles)
    identifiers = tuple(name for name in features if IDENTIFIER.fullmatch(plain[name]) or IDENTIFIER.fullmatch(name))
    times = tuple(name for name in features if is_time_like(name))
    return Roles(label, part, sample, time, features, identifiers, tuple(left_out), guessed, times)


def _column(asked: str, names: Sequence[str], where: str, option: str) -> str:
    """Return the column that a user names, in whatever case."""
    for same in (str, lambda name: str(name).strip(), plain_name):
        found = [name for name in names if same(name) == same(asked)]
        if len(found) == 1:
            return found[0]
    near = did_you_mean(asked, [str(name) for name in names])
    raise DataError(
        f"{where} has no column {asked!r}, which {option} names.{near} It has: {', '.join(map(str, names[:30]))}"
    )
