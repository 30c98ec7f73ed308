"""`silent`: around Trainers that are made to learn something, and not to train."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["silent"]

EVERYONE = ("lightning.pytorch", "lightning.fabric", "lightning", "ssl_registry")


@contextmanager
def silent(*names: str) -> Iterator[None]:
    """Keep back warnings, and what these loggers say below an error.

    Args:
        names: of the loggers; default: Lightning's and this package's, since nobody asked for the Trainer.
    """
    names = names or EVERYONE
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
