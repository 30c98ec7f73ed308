"""How many processes load samples where the user said nothing."""

from __future__ import annotations

import os

from ssl_registry.data import Source

__all__ = ["default_workers"]

MOST = 8


def default_workers(source: Source) -> int:
    """Return none for what lies in memory, and one for each core that this process may use, at most 8, for files."""
    if source.train.in_memory:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST, cores)
