"""Freezing that gives back exactly what it took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self
from weakref import WeakKeyDictionary

from torch import nn

__all__ = ["Frozen", "FrozenModuleList", "evaluating", "freeze"]


@dataclass
class _Hold:
    """How a frozen submodule was found, and how many tokens hold it."""

    training: bool
    trainable: tuple[str, ...]
    count: int = 0


# Kept here rather than in the modules, so that a copy of a frozen module is a module of its own.
_holds: WeakKeyDictionary[nn.Module, _Hold] = WeakKeyDictionary()


class Frozen:
    """What `freeze` returns: the token that undoes it, by `restore` or as a context manager.

    A token can be pickled and copied along with its module; the copy undoes the freezing of the copy.
    """

    def __init__(self, parts: list[nn.Module]) -> None:
        self._parts = parts

    def restore(self) -> None:
        """Give back the flags as they were found; a second call does nothing.

        What several tokens hold is given back with the last of them, in whatever order they go.
        """
        parts, self._parts = self._parts, []
        for part in parts:
            hold = _holds[part]
            hold.count -= 1
            if hold.count:
                continue
            del _holds[part]
            part.training = hold.training
            # By name: loading with assign=True replaces the parameters. And only what was taken, because a
            # parameter shared with another frozen module was found frozen there.
            for name in hold.trainable:
                parameter = part._parameters.get(name)
                if parameter is not None:
                    parameter.requires_grad_(True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.restore()

    def __getstate__(self) -> dict[str, Any]:
        return {"parts": [(part, _holds[part].training, _holds[part].trainable) for part in self._parts]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._parts = [part for part, _, _ in state["parts"]]
        for part, training, trainable in state["parts"]:
            _holds.setdefault(part, _Hold(training, trainable)).count += 1


def freeze(module: nn.Module, mode: Literal["eval", "train"] = "eval") -> Frozen:
    """Turn off the gradients of ``module``, and by default put it in eval mode, until the token's `Frozen.restore`.

    Freezes may overlap and repeat: a submodule stays frozen as long as any token holds it, and then
    every flag is as before the first, so what the user froze stays frozen. Both are set once; a later
    ``module.train()`` or ``requires_grad_()`` is not prevented, and undone by `Frozen.restore`.

    Args:
        module: with all its submodules.
        mode: ``train`` leaves modes as they are, so that BatchNorm's statistics and dropout go on.

    Returns:
        The token. As a context manager it restores at the end of the block.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> layer.bias = layer.bias.requires_grad_(False)
        >>> with freeze(layer):
        ...     layer.weight.requires_grad, layer.training
        (False, False)
        >>> layer.weight.requires_grad, layer.bias.requires_grad, layer.training
        (True, False, True)
    """
    parts = list(module.modules())
    # Look at all before touching any: two submodules may share a parameter.
    for part in parts:
        if part not in _holds:
            trainable = (name for name, p in part._parameters.items() if p is not None and p.requires_grad)
            _holds[part] = _Hold(part.training, tuple(trainable))
        _holds[part].count += 1
    for part in parts:
        if mode == "eval":
            part.training = False
        for parameter in part._parameters.values():
            if parameter is not None:
                parameter.requires_grad_(False)
    return Frozen(parts)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put ``module`` in eval mode for a block, then each of its submodules in the mode it was found in.

    Example:
        >>> layer = nn.Dropout()
        >>> with evaluating(layer):
        ...     layer.training
        False
        >>> layer.training
        True
    """
    found = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in found:
            part.training = False
        yield
    finally:
        for part, training in found:
            part.training = training


class FrozenModuleList(nn.ModuleList):
    """A module list that never trains: no gradients, and eval mode for ever, also after ``.train()``.

    A module that is added is frozen too. State-dict keys are those of a ``nn.ModuleList``. For modules
    that train at other times use `freeze`.

    Args:
        modules: what the list holds; they are frozen in place.

    Example:
        >>> projectors = FrozenModuleList([nn.Dropout(), nn.Linear(2, 2)]).train()
        >>> projectors[0].training, projectors[1].weight.requires_grad
        (False, False)
    """

    def __init__(self, modules: Iterable[nn.Module] | None = None) -> None:
        super().__init__(modules)
        self.training = False

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever ``mode`` is."""
        return super().train(False)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a module, frozen. Construction, ``append`` and ``extend`` come through here."""
        super().add_module(name, module if module is None else _sealed(module))

    def insert(self, index: int, module: nn.Module) -> None:
        """Insert a module, frozen."""
        super().insert(index, _sealed(module))

    def __setitem__(self, index: int, module: nn.Module) -> None:
        super().__setitem__(index, _sealed(module))


def _sealed(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)
