"""Cells become rows (mean and deviation over seeds), and rows become a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_registry.workflows.bench.cells import Cell
from ssl_registry.workflows.evaluate.results import Score

__all__ = ["COLUMNS", "Row", "markdown", "summarize"]

COLUMNS = ("method", "data", "seeds", "protocol", "untrained", "last epoch", "best epoch", "s", "peak MiB")


@dataclass(frozen=True)
class Row:
    """One method on one data set by one protocol, over seeds.

    Args:
        method, data, protocol: which.
        seeds: that the figures are over.
        untrained, last, best: accuracies in [0, 1]; None where not measured.
        seconds: mean of training; None where every run was resumed.
        memory_mib: the highest.
        diverged: seeds whose training diverged; the figures are over the others.
    """

    method: str
    data: str
    protocol: str
    seeds: tuple[int, ...]
    untrained: Score | None
    last: Score | None
    best: Score | None
    seconds: float | None
    memory_mib: float
    diverged: tuple[int, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The row as `COLUMNS` has it."""
        figures = [_text(figure) for figure in (self.untrained, self.last, self.best)]
        seconds = "" if self.seconds is None else f"{self.seconds:.0f}"
        if self.diverged:
            figures[1] = f"{figures[1]} (diverged: seed {', '.join(map(str, self.diverged))})".strip()
        return (
            self.method,
            self.data,
            str(len(self.seeds)),
            self.protocol,
            *figures,
            seconds,
            f"{self.memory_mib:.0f}",
        )


def summarize(cells: Sequence[Cell]) -> list[Row]:
    """Bring cells together by method, data and protocol, in the order they came."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.method, cell.data), []).append(cell)
    rows = []
    for (method, data), members in groups.items():
        known = [cell.seconds for cell in members if cell.seconds is not None]
        rows += [
            Row(
                method=method,
                data=data,
                protocol=protocol,
                seeds=tuple(cell.seed for cell in members),
                untrained=_score(members, "untrained", protocol),
                last=_score(members, "last", protocol),
                best=_score(members, "best", protocol),
                seconds=sum(known) / len(known) if known else None,
                memory_mib=max(cell.memory_mib for cell in members),
                diverged=tuple(cell.seed for cell in members if cell.diverged),
            )
            # In the order of the first cell that has figures; without any there is a row that says why.
            for protocol in next((cell.accuracy["last"] for cell in members if cell.accuracy["last"]), [""])
        ]
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """Write rows as a Markdown table."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS), *(" | ".join(row.words) for row in rows)]
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
