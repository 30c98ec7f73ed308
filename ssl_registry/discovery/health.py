"""Whether a plugin can be imported, found out in a process of its own.

A plugin that crashes, hangs or prints while it is imported takes nothing with it.
"""

from __future__ import annotations

import json
import subprocess
import sys

from ssl_registry.discovery.entry_points import EntryInfo

__all__ = ["DEFAULT_TIMEOUT", "import_problem"]

# Importing torch from a cold disk takes most of a minute; a plugin adds little to that.
DEFAULT_TIMEOUT = 60.0
# What runs in that process. Its last line is the outcome: the plugin may have printed before it.
PROGRAM = """
import json, sys
from ssl_registry.cli.entries import load_entry
from ssl_registry.errors import SSLRegistryError

problem = ""
try:
    load_entry(*sys.argv[1:])
except SSLRegistryError as error:
    problem = " ".join(str(error).split())
print("\\n" + json.dumps({"problem": problem}), flush=True)
"""


def import_problem(info: EntryInfo, *, timeout: float = DEFAULT_TIMEOUT) -> str:
    """Import an entry of a plugin apart from this process, and say in one line what is wrong.

    Args:
        info: an entry whose status is ``ok``, or a method whose status is ``conflict``.
        timeout: seconds after which the import counts as hanging.

    Returns:
        The problem, with distribution and version; empty when there is none.
    """
    source = f"{info.distribution} {info.version}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, info.kind, info.qualified],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{source} is still importing after {timeout:g} s; block it with SSL_REGISTRY_BLOCK={info.distribution}"
    try:
        # The last line: the plugin may have written to this pipe too.
        problem: str = json.loads(done.stdout.splitlines()[-1])["problem"]
    except (IndexError, ValueError, KeyError, TypeError):
        return f"{source} ends the process that imports it, with exit code {done.returncode}"
    return problem
