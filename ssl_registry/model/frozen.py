"""What is frozen in this epoch: taken and given back by the core alone."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Literal

from torch import nn

from ssl_registry.errors import ContractError, did_you_mean
from ssl_registry.nn import Frozen, freeze

__all__ = ["FrozenParts"]

Mode = Literal["eval", "train"]


class FrozenParts:
    """The parts of a model that a method's `frozen_modules` named, with what gives each back as it was found."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[nn.Module, Mode, Frozen]] = {}

    @property
    def names(self) -> frozenset[str]:
        """What is held now."""
        return frozenset(self._held)

    def hold(
        self, named: Set[str] | Mapping[str, str], backbone: nn.Module, heads: nn.ModuleDict, *, owner: str
    ) -> None:
        """Freeze what is named, and nothing else.

        Args:
            named: ``"backbone"``, keys of ``heads``, or parts of either as ``"backbone.part"`` and ``"head.part"``; or
                these with their modes, ``"eval"`` or ``"train"``. A name alone means ``"eval"``.
            backbone, heads: where they are looked up.
            owner: the method's name, for messages.

        Raises:
            ContractError: for a name that leads nowhere, or another mode.
        """
        modes: dict[str, Any] = dict(named) if isinstance(named, Mapping) else dict.fromkeys(named, "eval")
        names = modes.keys()
        if wrong := sorted(name for name, mode in modes.items() if mode not in ("eval", "train")):
            raise ContractError(
                f"{owner}: frozen_modules says {modes[wrong[0]]!r} of {wrong[0]!r}; modes are 'eval' and 'train'"
            )
        # The backbone first: a head of that name is known by it no longer.
        parts = dict(heads.named_modules()) | dict(backbone.named_modules(prefix="backbone"))
        parts.pop("", None)
        if unknown := sorted(names - parts.keys()):
            raise ContractError(
                f"{owner}: frozen_modules names {unknown[0]!r}.{did_you_mean(unknown[0], parts)} "
                f"There are: {', '.join(sorted({'backbone', *heads}))}, and what is inside of them: head.part"
            )
        if modes == {name: mode for name, (_, mode, _) in self._held.items()}:
            return
        self.release()
        for name, mode in sorted(modes.items()):
            self._held[name] = parts[name], mode, freeze(parts[name], mode)

    def rest(self) -> None:
        """Put what rests in evaluation mode back into it, after the whole model was set to train."""
        for part, mode, _ in self._held.values():
            if mode == "eval":
                part.eval()

    def release(self) -> None:
        """Give everything back exactly as it was found."""
        for _, _, token in self._held.values():
            token.restore()
        self._held = {}
