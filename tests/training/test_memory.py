"""Memory that training frees, kept for its next step."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: what is asked of the C library holds for all of it, and for good.
PROGRAM = """
import resource, sys, torch
from ssl_registry.training.memory import keep_freed_memory

def pages(megabytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(megabytes << 18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages(64)
print(pages(64))
assert keep_freed_memory()
pages(64)
print(pages(64))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_a_tensor_gets_pages_that_another_freed():
    """A tensor of 64 MiB costs the kernel thousands of pages, and next to none once freed memory is kept."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < 100 < before
