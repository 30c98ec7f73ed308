"""Cells become rows (mean and deviation over seeds), and rows become a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_registry.workflows.bench.cells import Cell
from ssl_registry.workflows.evaluate.results import Score

__all__ = ["COLUMNS", "RAW", "Row", "columns_of", "markdown", "summarize"]

COLUMNS = ("suite", "method", "data", "seeds", "protocol", "untrained", "last epoch", "best epoch", "s", "peak MiB")
RAW = "raw input"


@dataclass(frozen=True)
class Row:
    """One method on one data set by one protocol, over seeds.

    Args:
        method, data, protocol: which; the method is ``raw input`` for samples as they are, and ``supervised`` for the
            suite's network trained on labels.
        seeds: that the figures are over.
        untrained, last, best: accuracies in [0, 1]; None where not measured.
        seconds: mean of training; None where every run was resumed.
        memory_mib: the highest.
        diverged: seeds whose training diverged; the figures are over the others.
        suite: that it belongs to.
    """

    method: str
    data: str
    protocol: str
    seeds: tuple[int, ...]
    untrained: Score | None
    last: Score | None
    best: Score | None
    seconds: float | None
    memory_mib: float | None
    diverged: tuple[int, ...] = ()
    suite: str = ""

    @property
    def words(self) -> dict[str, str]:
        """The row by `COLUMNS`."""
        figures = [_text(figure) for figure in (self.untrained, self.last, self.best)]
        seconds = "" if self.seconds is None else f"{self.seconds:.0f}"
        if self.diverged:
            figures[1] = f"{figures[1]} (diverged: seed {', '.join(map(str, self.diverged))})".strip()
        cells = (self.suite, self.method, self.data, str(len(self.seeds)), self.protocol, *figures, seconds)
        return dict(zip(COLUMNS, (*cells, "" if self.memory_mib is None else f"{self.memory_mib:.0f}"), strict=True))


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return the columns that say something: no suite where there is one, no best epoch where none was kept."""
    said = {column for row in rows for column, words in row.words.items() if words}
    several = len({row.suite for row in rows}) > 1
    return [column for column in COLUMNS if column in said and (column != "suite" or several)]


def summarize(cells: Sequence[Cell]) -> list[Row]:
    """Bring cells together by suite, data, method and protocol, in the order they came; the raw input first."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.suite, cell.data), []).append(cell)
    rows = []
    for (suite, data), members in groups.items():
        rows += [
            Row(
                RAW,
                data,
                protocol,
                tuple(of_seed),
                None,
                Score.over(list(of_seed.values())),
                None,
                None,
                None,
                (),
                suite,
            )
            for protocol, of_seed in _raw(members).items()
        ]
        for method in dict.fromkeys(cell.method for cell in members):
            rows += _rows_of_method([cell for cell in members if cell.method == method])
    return rows


def _raw(cells: Sequence[Cell]) -> dict[str, dict[int, float]]:
    """Return the raw input's figures by protocol and seed: of every seed the first cell that has them."""
    found: dict[str, dict[int, float]] = {}
    for cell in cells:
        for protocol, figure in cell.accuracy.get("raw", {}).items():
            found.setdefault(protocol, {}).setdefault(cell.seed, figure)
    return found


def _rows_of_method(cells: Sequence[Cell]) -> list[Row]:
    known = [cell.seconds for cell in cells if cell.seconds is not None]
    return [
        Row(
            method=cells[0].method,
            data=cells[0].data,
            protocol=protocol,
            seeds=tuple(cell.seed for cell in cells),
            untrained=_score(cells, "untrained", protocol),
            last=_score(cells, "last", protocol),
            best=_score(cells, "best", protocol),
            seconds=sum(known) / len(known) if known else None,
            memory_mib=max(cell.memory_mib for cell in cells),
            diverged=tuple(cell.seed for cell in cells if cell.diverged),
            suite=cells[0].suite,
        )
        # In the order of the first cell that has figures; without any there is a row that says why.
        for protocol in next((cell.accuracy["last"] for cell in cells if cell.accuracy["last"]), [""])
    ]


def markdown(rows: Sequence[Row]) -> str:
    """Write rows as a Markdown table."""
    columns = columns_of(rows)
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(row.words[column] for column in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _score(cells: Sequence[Cell], which: str, protocol: str) -> Score | None:
    values = [cell.accuracy[which][protocol] for cell in cells if protocol in cell.accuracy.get(which, {})]
    return Score.over(values) if values else None


def _text(figure: Score | None) -> str:
    """Write an accuracy in per cent.

    >>> _text(Score(0.8765, 0.0123))
    '87.6 ± 1.2'
    """
    if figure is None:
        return ""
    return f"{100 * figure.mean:.1f}" + ("" if figure.std is None else f" ± {100 * figure.std:.1f}")
