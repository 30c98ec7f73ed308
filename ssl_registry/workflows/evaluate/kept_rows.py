"""What a protocol measured, kept under a hash of features, targets and settings: a stopped evaluation goes on there."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from ssl_registry._system.atomic import whole_file
from ssl_registry._system.small_files import read_text
from ssl_registry._version import __version__
from ssl_registry.data.sample_set import content_hash
from ssl_registry.errors import ConfigError
from ssl_registry.workflows.evaluate.results import Score

__all__ = ["kept_row"]

log = logging.getLogger(__name__)

Metrics = dict[str, Score]
METRICS = TypeAdapter(Metrics)


def kept_row(
    folder: Path | None, about: Sequence[object], tensors: Sequence[Tensor], measure: Callable[[], Metrics]
) -> Metrics:
    """Return what was measured of these before, or measure and keep it.

    A file that cannot be read is measured again.

    Args:
        folder: of the cache of features; None measures always.
        about: protocol and settings, with a ``repr`` that says them.
        tensors: features and targets.
        measure: gives metrics by name.
    """
    if folder is None:
        return measure()
    path = folder / "rows" / f"{content_hash([f'1 {__version__} {list(about)!r}', *tensors])}.json"
    if path.is_file():
        try:
            return METRICS.validate_json(read_text(path))
        except (OSError, ConfigError, ValidationError):
            log.info(f"{path} is damaged: what it held is measured again")
    found = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps({name: asdict(score) for name, score in found.items()}).encode())
    return found
