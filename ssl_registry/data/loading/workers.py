"""How many processes load samples where the user said nothing."""

from __future__ import annotations

import os

from ssl_registry.data import Source

__all__ = ["default_workers", "usable_cores", "workers_for_files"]

# More processes are seldom faster than one device consumes, and each takes memory; `ssl-registry profile` tries more.
MAX_WORKERS = 8


def default_workers(source: Source) -> int:
    """Return none for what lies in memory, and one for each core that this process may use, at most 8, for files."""
    return 0 if source.train.in_memory else workers_for_files()


def workers_for_files() -> int:
    """Return one for each core that this process may use, at most 8."""
    return min(MAX_WORKERS, usable_cores())


def usable_cores() -> int:
    """Return how many cores this process may use: a container or a cluster's job may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
