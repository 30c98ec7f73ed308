"""Memory of this process: what it keeps of what it frees, and the most it had."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory", "peak_memory"]

# The parameters' numbers in glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST_THRESHOLD = 2**31 - 1  # bytes; the call takes an int


def keep_freed_memory() -> bool:
    """Let this process keep up to 2 GiB of what it frees, for good: for commands, never for a call of the library.

    A step of training on a CPU frees its activations and asks for as much again in the next one. glibc maps tensors of
    more than 32 MiB, and often much smaller ones, afresh each time, and the kernel clears every page of them. glibc's
    environment variables ``MALLOC_TRIM_THRESHOLD_=2147483647`` and ``MALLOC_MMAP_MAX_=0`` do so for any program.

    Source: glibc's manual, "Malloc Tunable Parameters" (mallopt). What it saves: ``benchmarks/kept_memory.py``.

    Returns:
        Whether it does: False where CUDA trains, which has an allocator of its own, and where the C library is not
        glibc.
    """
    import torch

    if sys.platform != "linux" or torch.cuda.is_available():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_THRESHOLD) and mallopt(TRIM_THRESHOLD, LARGEST_THRESHOLD))


def peak_memory() -> int:
    """Return bytes: of the device where it is CUDA, else of this process since it began; 0 on Windows, without CUDA."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # there is none on Windows
        return 0
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
