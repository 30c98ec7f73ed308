"""What is frozen in this epoch: taken and given back by the core alone."""

from __future__ import annotations

from collections.abc import Set

from torch import nn

from ssl_registry.errors import ContractError, did_you_mean
from ssl_registry.nn import Frozen, freeze

__all__ = ["FrozenParts"]


class FrozenParts:
    """The parts of a model that a method's `frozen_modules` named, with what gives each back as it was found."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[nn.Module, Frozen]] = {}

    @property
    def names(self) -> frozenset[str]:
        """What is held now."""
        return frozenset(self._held)

    def hold(self, names: Set[str], backbone: nn.Module, heads: nn.ModuleDict, *, owner: str) -> None:
        """Freeze what is named, and nothing else.

        Args:
            names: ``"backbone"``, keys of ``heads``, or parts of a head as ``"head.part"``.
            backbone, heads: where they are looked up.
            owner: the method's name, for messages.

        Raises:
            ContractError: for a name that leads nowhere.
        """
        parts = {name for name, _ in heads.named_modules() if name} | {"backbone"}
        if unknown := sorted(names - parts):
            raise ContractError(
                f"{owner}: frozen_modules names {unknown[0]!r}.{did_you_mean(unknown[0], parts)} "
                f"There are: {', '.join(sorted({'backbone', *heads}))}, and what is inside of heads: head.part"
            )
        if names == self._held.keys():
            return
        self.release()
        for name in sorted(names):
            part = backbone if name == "backbone" else heads.get_submodule(name)
            self._held[name] = part, freeze(part)

    def rest(self) -> None:
        """Put what is held back into evaluation mode, after the whole model was set to train."""
        for part, _ in self._held.values():
            part.eval()

    def release(self) -> None:
        """Give everything back exactly as it was found."""
        for _, token in self._held.values():
            token.restore()
        self._held = {}
