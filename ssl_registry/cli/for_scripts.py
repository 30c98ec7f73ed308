"""What a script of one's own calls to see what the commands show."""

from __future__ import annotations

from contextlib import ExitStack

from ssl_registry.cli.messages import show_messages
from ssl_registry.cli.train import quieten

__all__ = ["print_messages"]

_printing: list[ExitStack] = []  # one at most, and open until the process ends


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
