"""`ExportFormat`: a form in which a trained backbone is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_registry.runs.opened import OpenedRun

__all__ = ["ExportFormat", "check_format"]


@dataclass(frozen=True)
class ExportFormat:
    """A form of export: how it is written, and the code that loads it.

    Args:
        name: what ``--format`` takes.
        help: what it is, in a few words.
        write: fills an empty folder from an opened run, and returns the lines of Python that load the export as
            ``model``, out of the folder whose path is in the variable ``folder``. ``model`` is an ``nn.Module``, or a
            function from a NumPy array to one, float32 [batch, *input_shape] to [batch, width]. The lines are shown
            to the user, and run in a fresh process that cannot import ssl_registry, where the outputs are compared with
            those of ``run.exported``: the backbone, with a classifier behind it where it was fine-tuned. What they take
            from the run is written by ``repr``: a checkpoint may come from anywhere.
        tolerance: how far the outputs may differ from the backbone's.
        extra: the extra of this package that it needs.

    Example:
        >>> ExportFormat("weights", "the state dict alone", write=print).tolerance
        1e-05
    """

    name: str
    help: str
    write: Callable[[OpenedRun, Path], str]
    tolerance: float = 1e-5
    extra: str = ""


def check_format(found: Any) -> ExportFormat:
    """Return what an entry point named, if it is a format.

    Raises:
        TypeError: if it is something else.
    """
    if not isinstance(found, ExportFormat):
        raise TypeError(f"is a {type(found).__name__}, not an ExportFormat")
    return found
