"""Tables of commands: as wide as a terminal, and one line a row where output is no terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FigureRow", "print_figures", "table_console"]

UNLIMITED = 100_000  # columns of a file or a pipe
GAP = 2  # between columns


@dataclass(frozen=True)
class FigureRow:
    """A row of a table of figures.

    Args:
        heads: what it is, in the first columns.
        cells: its figures, as text; none of them is ever broken over two lines.
        bold: whether it stands out.
    """

    heads: tuple[str, ...]
    cells: tuple[str, ...]
    bold: bool = False


def table_console(*, highlight: bool = True) -> Console:
    """Return a console on stdout, which wraps at a terminal's width, or at ``COLUMNS`` where that is set.

    Args:
        highlight: color numbers and paths.
    """
    from rich.console import Console

    console = Console(highlight=highlight)
    if not (console.is_terminal or console.is_jupyter or os.environ.get("COLUMNS", "").isdigit()):
        console.width = UNLIMITED
    return console


def print_figures(console: Console, heads: Sequence[str], names: Sequence[str], rows: Sequence[FigureRow]) -> None:
    """Print a table; the columns that find no room go on below it, behind the heads again."""
    from rich.table import Table
    from rich.text import Text

    widths = [max(map(len, [name, *(row.cells[n] for row in rows)])) for n, name in enumerate(names)]
    head_widths = [max(map(len, [name, *(row.heads[n] for row in rows)])) for n, name in enumerate(heads)]
    for number, block in enumerate(_blocks(widths, console.width - sum(head_widths) - GAP * len(heads))):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in heads:
            table.add_column(Text(name), no_wrap=True)
        for n in block:
            table.add_column(Text(names[n]), justify="right", no_wrap=True)
        for row in rows:
            cells = (*row.heads, *(row.cells[n] for n in block))
            table.add_row(*map(Text, cells), style="bold" if row.bold else None)
        if number:
            console.print()
        console.print(table)


def _blocks(widths: Sequence[int], room: int) -> list[range]:
    """Return which columns stand beside each other, at least one.

    >>> _blocks([9, 13, 9, 9], 26), _blocks([], 26)
    ([range(0, 2), range(2, 4)], [range(0, 0)])
    """
    starts, used = [0], 0
    for n, width in enumerate(widths):
        if used and used + GAP + width > room:
            starts.append(n)
            used = 0
        used += width + (GAP if used else 0)
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(widths)], strict=True)]
