"""Lightning callbacks of a run, one idea a file.

- `broken`: `NameBroken`, images that could not be read are named in the run's folder
- `interrupt`: `SaveOnInterrupt`, Ctrl-C ends a run with a checkpoint that resumes exactly
"""

from __future__ import annotations

from ssl_registry.callbacks.broken import NameBroken
from ssl_registry.callbacks.interrupt import SaveOnInterrupt

__all__ = ["NameBroken", "SaveOnInterrupt"]
