"""What the library logs while a command runs, printed as lines for a person.

The library itself prints nothing: it logs to ``logging.getLogger("ssl_registry")``. A script that wants the lines calls
`print_messages`, or configures logging as for any other library.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from ssl_registry._system.terminal import printable

__all__ = ["print_messages", "quieten", "show_messages"]

# Set by torchrun, Lightning's own launcher and SLURM; all of them are 0 or missing in the first process alone.
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")

_printing: list[ExitStack] = []  # of `print_messages`: one at most, and open until the process ends


class _Printer(logging.Handler):
    """Print each record to the standard stream of the moment, which a progress bar or a test may have replaced."""

    def __init__(self, stream: Literal["stdout", "stderr"], prefix: str) -> None:
        super().__init__(logging.INFO)
        self.stream = stream
        self.prefix = prefix

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record; a pipe that was closed ends the command, as for `print`."""
        warning = "Warning: " if record.levelno >= logging.WARNING else ""
        # Flushed, so that a log file can be followed while a training runs.
        print(printable(f"{self.prefix}{warning}{record.getMessage()}"), file=getattr(sys, self.stream), flush=True)


@contextmanager
def show_messages(*, stream: Literal["stdout", "stderr"] = "stdout", prefix: str = "") -> Iterator[None]:
    """Print what `ssl_registry` logs while the block runs; of several processes the first one prints.

    Args:
        stream: where to.
        prefix: before every line.
    """
    if any(os.environ.get(name, "0") != "0" for name in RANKS):
        yield
        return
    logger = logging.getLogger("ssl_registry")
    printer, level = _Printer(stream, prefix), logger.level
    logger.addHandler(printer)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(printer)
        logger.setLevel(level)


def quieten() -> None:
    """Keep Lightning's banners and its advice about what this command decides out of a person's sight."""
    import lightning.pytorch  # noqa: F401  # whose import sets the level

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
    warnings.filterwarnings("ignore", message=".*but have no `val_dataloader`.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")


def print_messages() -> None:
    """Print from here on what the package logs, as its commands do, and keep Lightning's banners out of sight.

    For scripts and notebooks: the library by itself prints nothing and changes no logger and no filter of warnings.
    Calling it again does nothing.
    """
    quieten()
    if not _printing:
        printing = ExitStack()
        printing.enter_context(show_messages())
        _printing.append(printing)
