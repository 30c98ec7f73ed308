"""Lightning callbacks of a run, one idea a file.

- `interrupt`: `SaveOnInterrupt`, Ctrl-C ends a run with a checkpoint that resumes exactly
"""

from __future__ import annotations

from ssl_registry.callbacks.interrupt import SaveOnInterrupt

__all__ = ["SaveOnInterrupt"]
