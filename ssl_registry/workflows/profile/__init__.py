"""Where the time of a training goes, and what makes it faster here.

- `stages`: reading, decoding and drawing views, each by itself
- `steps`: whole training steps through Lightning's Trainer, and the same without data
- `advice`: settings that are tried, and the best of them in one line
- `profile`: all of it for one method and source
"""

from __future__ import annotations

from ssl_registry.workflows.profile.profile import Profile, profile

__all__ = ["Profile", "profile"]
