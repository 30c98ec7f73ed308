"""Memory that training frees, kept for its next step: by a command, or as the user tells the C library."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")

# In a process of its own: what is asked of the C library holds for all of it, and for good. The first block after a
# change extends the heap; malloc itself is asked, since torch's aligned blocks need several more until one fits.
PAGES = """
import ctypes, resource
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes, libc.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [ctypes.c_void_p]

def new_pages():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = libc.malloc(64 << 20)
        libc.memset(block, 1, 64 << 20)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(new_pages())
"""
KEEPING = """
from ssl_registry._system.memory import keep_freed_memory

assert keep_freed_memory()
print(new_pages())
"""
TRAINER = """
import tempfile
from pathlib import Path

from ssl_registry.runs.folder import Run
from ssl_registry.training.trainer import make_trainer

make_trainer({"accelerator": "cpu", "max_epochs": 1}, Run(Path(tempfile.mkdtemp())))
print(new_pages())
"""


def new_pages(program: str, **variables: str) -> list[int]:
    """Run a program that prints how many new pages a block of 64 MiB takes behind another that was freed."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | variables
    )
    return [int(line) for line in done.stdout.split()]


def test_a_block_gets_pages_that_another_freed():
    """It costs the kernel thousands of pages, and next to none once freed memory is kept."""
    before, after = new_pages(PAGES + KEEPING)
    assert after < 100 < before


@pytest.mark.slow
def test_a_call_of_the_library_leaves_the_allocator_alone():
    """Behind `make_trainer` a block costs as many pages as before."""
    before, after = new_pages(PAGES + TRAINER)
    assert min(before, after) > 100


def test_the_documented_variables_keep_it():
    """glibc reads them from the environment when a program starts."""
    assert new_pages(PAGES, MALLOC_TRIM_THRESHOLD_="2147483647", MALLOC_MMAP_MAX_="0")[0] < 100
