"""Which column of recordings is time, told by names and by values that rise; and which columns merely count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_registry.data.arrays.encoding import encode_columns, fit_column
from ssl_registry.errors import DataError
from ssl_registry.views.columns import Column, TableColumns

__all__ = ["as_times", "counters", "likely_sample", "rises"]

# What the column that tells recordings apart is often called.
RECORDING = re.compile(
    r"(sample|recording|record|session|series|sequence|trial|segment|subject|person|user|participant|patient|file|run)"
    r"([ _]?(id|no|nr|number|name))?"
)
LONG_RUN = 8  # rows that each of its values has at least, in the mean: no recording is shorter than a few moments
EVEN = 1e-3  # of a step: how far the steps of a counter may differ, since written times are rounded
LEAST_STEPS = 3  # a counter is told by: fewer may rise evenly by chance


def as_times(values: Any) -> NDArray[np.float64] | None:
    """Return a column's numbers or dates as numbers that rise with time; None where it holds neither, or gaps.

    Args:
        values: a ``pandas.Series``.
    """
    import pandas as pd

    if values.isna().any():
        return None
    numbers = pd.to_numeric(values, errors="coerce") if values.dtype.kind not in "mM" else values.astype("int64")
    if not numbers.isna().any():
        return np.asarray(numbers.to_numpy(np.float64))
    column = fit_column("time", values, where="")
    if isinstance(column, Column) and column.kind == "date":
        return encode_columns(TableColumns(columns=(column,)), values.to_frame("time"), where="")[:, 0]
    return None


def rises(values: Any, codes: NDArray[np.int64]) -> bool:
    """Whether a column runs as time does: within each recording it never falls, or is even once it is sorted.

    Args:
        values: a ``pandas.Series``.
        codes: number of the recording of each row, [rows].

    Example:
        >>> import pandas as pd
        >>> codes = np.array([0, 0, 0, 1, 1, 1])
        >>> [rises(pd.Series(one), codes) for one in ([0, 1, 1, 0, 2, 9], [0, 2, 1, 5, 7, 6], [0, 1, 0, 0, 1, 5])]
        [True, True, False]
    """
    try:
        times = as_times(values)
    except DataError:  # numbers or dates with mistakes among them
        return False
    if times is None or not np.isfinite(times).all():
        return False
    rows = np.argsort(codes, kind="stable")
    steps = _steps(times[rows], codes[rows])
    if not len(steps) or not steps.any():
        return False
    rows = np.lexsort((times, codes))
    return bool((steps >= 0).all()) or _is_even(_steps(times[rows], codes[rows]))


def counters(frame: Any, names: Sequence[str], codes: NDArray[np.int64]) -> list[str]:
    """Return the columns that rise by one constant step within every recording, as a counter of rows does.

    Empty where all columns do: then they are what is measured.

    Args:
        frame: a ``pandas.DataFrame``.
        names: of its columns that are channels.
        codes: number of the recording of each row, [rows].

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"frame": [1, 2, 3, 4, 1, 2, 3, 4], "x": [3, 1, 4, 1, 5, 9, 2, 6]})
        >>> counters(frame, ["frame", "x"], np.array([0, 0, 0, 0, 1, 1, 1, 1]))
        ['frame']
    """
    rows = np.argsort(codes, kind="stable")
    found = []
    for name in names:
        if frame[name].dtype.kind in "iuf":
            steps = _steps(frame[name].to_numpy(np.float64)[rows], codes[rows])
            if len(steps) >= LEAST_STEPS and _is_even(steps):
                found.append(name)
    return found if len(found) < len(names) else []


def likely_sample(frame: Any, names: Sequence[str], times: Sequence[str]) -> tuple[str | None, bool]:
    """Return the column that tells recordings apart by its values, and whether time rises within each of these.

    Such a column has several values, each in one long run of rows. Of several the one in whose runs time rises is
    taken, then one with a usual name, then that with the most values.

    Args:
        frame: a ``pandas.DataFrame`` whose rows may be moments.
        names: of the columns that are asked.
        times: of the columns that may be time.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"who": ["ada"] * 16 + ["bob"] * 8, "walk": [0] * 8 + [1] * 8 + [2] * 8})
        >>> likely_sample(frame.assign(t=[*range(8)] * 3), ["who", "walk"], ["t"])
        ('walk', True)
    """
    import pandas as pd

    best: tuple[tuple[bool, bool, int], str] | None = None
    for name in names:
        values = frame[name]
        if name in times or values.dtype.kind in "fbmM" or values.isna().any():
            continue
        codes = np.asarray(pd.factorize(values, sort=False)[0], np.int64)
        count = int(codes.max(initial=-1)) + 1
        runs = 1 + int((np.diff(codes) != 0).sum())
        if count < 2 or runs != count or len(codes) < LONG_RUN * count:
            continue
        usual = RECORDING.fullmatch(str(name).strip().lower()) is not None
        found = (any(rises(frame[time], codes) for time in times), usual, count), str(name)
        best = found if best is None else max(best, found)
    return (None, False) if best is None else (best[1], best[0][0])


def _steps(values: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the steps from row to row within recordings, whose rows lie together."""
    steps: NDArray[np.float64] = np.diff(values)[codes[1:] == codes[:-1]]
    return steps


def _is_even(steps: NDArray[np.float64]) -> bool:
    return bool(steps.min() > 0 and np.ptp(steps) <= EVEN * np.median(steps))
