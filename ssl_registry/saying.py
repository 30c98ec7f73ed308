"""What a verb says while it works: lines for a person, or nothing."""

from __future__ import annotations

__all__ = ["silent"]


def silent(line: str) -> None:
    """Say nothing."""
