"""`Overrides`: the modules that a user gave by name, which remembers what it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["Overrides"]


class Overrides(dict[str, nn.Module]):
    """A dict of modules by head name. A name that `build_heads` never asks about is the user's mistake.

    Example:
        >>> overrides = Overrides(head=nn.Sequential())
        >>> len(overrides.take("head", lambda: nn.Linear(2, 2)))
        0
        >>> overrides.take("criterion", nn.MSELoss)
        MSELoss()
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: set[str] = set()

    def take(self, name: str, build: Callable[[], nn.Module]) -> nn.Module:
        """Return the user's module of this name, else what ``build`` makes.

        Prefer it to ``overrides.get(name) or ...``: an empty ``nn.Sequential`` is falsy.
        """
        return self[name] if name in self else build()

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> nn.Module:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the user's module of this name, or ``default``."""
        self.asked.add(name)
        return super().get(name, default)
