"""``ssl-registry bench``: one comparison over methods, data and seeds, as a table that anyone can make again.

The core names no method: a suite says which data and which budget, and the methods that ship the suite's recipe take
part, each with its own settings. What lives where:

- `suites`: what is compared; ``suites/*.yaml`` are those that the core brings
- `cells`: one method on one data set with one seed, trained and evaluated, or found finished
- `table`: cells become rows, and rows become text, Markdown and JSON
"""

from __future__ import annotations

from ssl_registry.workflows.bench.cells import SUPERVISED, Cell, run_cell, run_supervised
from ssl_registry.workflows.bench.suites import Suite, list_suites, load_suites
from ssl_registry.workflows.bench.table import Row, markdown, summarize

__all__ = [
    "SUPERVISED",
    "Cell",
    "Row",
    "Suite",
    "list_suites",
    "load_suites",
    "markdown",
    "run_cell",
    "run_supervised",
    "summarize",
]
