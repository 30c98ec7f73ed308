"""Freed memory kept for the next step, where the C library would give it back."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# Numbers of the parameters in glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
MOST = 2**31 - 1  # bytes; the call takes an int


def keep_freed_memory() -> bool:
    """Let this process keep up to 2 GiB of what it frees.

    A step of training on a CPU frees its activations and asks for as much again in the next one. glibc maps tensors of
    more than 32 MiB, and often much smaller ones, afresh each time, and the kernel clears every page of them.

    Source: glibc's manual, "Malloc Tunable Parameters" (mallopt).

    Returns:
        Whether it does; False where the C library is not glibc.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, MOST) and mallopt(TRIM_THRESHOLD, MOST))
