"""The moving average of a network's parameters, and the schedule of its momentum."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import is_
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

__all__ = ["cosine_schedule", "deactivate_requires_grad", "update_momentum"]


def cosine_schedule(
    step: int, max_steps: int, start_value: float, end_value: float, period: int | None = None
) -> float:
    """Move from ``start_value`` to ``end_value`` along half a cosine.

    value = end - (end - start) * (cos(pi * k / K) + 1) / 2, with k the step and K ``max_steps``. With
    ``start_value`` tau_base and ``end_value`` 1 it is the momentum of BYOL.

    Source: Grill et al., 2020, arXiv:2006.07733, implementation details (optimization).

    Args:
        step: optimizer steps done; past ``max_steps`` the value stays at ``end_value``.
        max_steps: optimizer steps of the whole run.
        start_value: at step 0.
        end_value: at step ``max_steps``.
        period: steps of a full cycle from ``start_value`` to ``end_value`` and back, repeated without end,
            in place of the half cycle over ``max_steps``.

    Raises:
        ValueError: if ``step`` is negative, or ``max_steps`` or ``period`` is below 1.

    Example:
        >>> [round(cosine_schedule(step, 100, 0.996, 1.0), 4) for step in (0, 50, 100, 200)]
        [0.996, 0.998, 1.0, 1.0]
    """
    if step < 0:
        raise ValueError(f"step={step} must not be negative")
    if max_steps < 1:
        raise ValueError(f"max_steps={max_steps} must be at least 1")
    if period is not None and period < 1:
        raise ValueError(f"period={period} must be at least 1, or None for half a cycle over max_steps")
    angle = math.pi * min(step / max_steps, 1.0) if period is None else 2 * math.pi * (step % period) / period
    share = (math.cos(angle) + 1) / 2
    # The same as the formula above, but exact at both ends.
    return start_value * share + end_value * (1 - share)


def deactivate_requires_grad(model: nn.Module) -> None:
    """Turn gradients off for every parameter of ``model``, as a momentum target needs it.

    Example:
        >>> target = nn.Linear(2, 2)
        >>> deactivate_requires_grad(target)
        >>> any(parameter.requires_grad for parameter in target.parameters())
        False
    """
    for parameter in model.parameters():
        parameter.requires_grad = False


def update_momentum(model: nn.Module | Sequence[nn.Module], model_ema: nn.Module, m: float) -> None:
    """Move a network's moving average: ema = m * ema + (1 - m) * parameter.

    Parameters only: buffers, such as BatchNorm's statistics, stay ``model_ema``'s own.

    The lists of parameters are remembered for ``model_ema``, so to call this at every step costs no walk
    through the modules. They are made again when a parameter or a submodule was replaced, which is noticed by
    identity; nothing is kept in the modules, so a copy of a network has lists of its own.

    Source: Grill et al., 2020, arXiv:2006.07733, section 3.1, equation 1.

    Args:
        model: the online network, or its parts in the order of the target's.
        model_ema: the target, with the same parameters in the same order.
        m: the momentum, from 0 (copy) to 1 (keep).

    Raises:
        ValueError: if ``m`` is out of range, or the two differ in structure, device or dtype.

    Example:
        >>> online, target = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> update_momentum(online, target, 0.0)
        >>> torch.equal(online.weight, target.weight)
        True
    """
    if not 0.0 <= m <= 1.0:
        raise ValueError(f"m={m} is no momentum; it must lie between 0 and 1")
    if type(model) is nn.Sequential:  # often made on the spot, so that its parts alone are the same at each step
        model = list(model.children())
    online = (model,) if isinstance(model, nn.Module) else tuple(model)
    lists = _remembered.get(model_ema)
    if lists is None or not lists.hold(online):
        lists = _remembered[model_ema] = _Lists(online, model_ema)
    if not lists.target:
        return
    try:
        with torch.no_grad():
            torch._foreach_lerp_(lists.target, lists.online, 1.0 - m)
    except RuntimeError:
        # `.to()` keeps a parameter's identity, so one network can have moved without the other.
        _pair(online, model_ema)
        raise


class _Lists:
    """The parameters of both networks, and what tells that one was added, removed or replaced.

    It remembers the modules' own dicts, because looking through them is far cheaper than walking the tree. It
    holds neither network itself: that would keep the target, by which it is remembered, alive for ever.
    """

    def __init__(self, online: tuple[nn.Module, ...], target: nn.Module) -> None:
        self.online, self.target = _pair(online, target)
        self._roots = [ref(root) for root in online]
        parts = [part for network in (*online, target) for part in network.modules()]
        dicts: list[dict[str, Any]] = [*(part._parameters for part in parts), *(part._modules for part in parts)]
        self._dicts = [content for content in dicts if content]
        self._empty = [content for content in dicts if not content]  # two thirds: looked at apart, that is cheaper
        self._entries = list(self._current())

    def hold(self, online: tuple[nn.Module, ...]) -> bool:
        """Whether these are still the parameters of both."""
        return (
            len(online) == len(self._roots)
            and all(root() is given for root, given in zip(self._roots, online, strict=True))
            and not any(self._empty)
            and sum(map(len, self._dicts)) == len(self._entries)
            and all(map(is_, self._current(), self._entries))
        )

    def _current(self) -> Iterator[object]:
        return chain.from_iterable(map(dict[str, Any].values, self._dicts))


_remembered: WeakKeyDictionary[nn.Module, _Lists] = WeakKeyDictionary()


def _pair(online: tuple[nn.Module, ...], target: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters of both; raise a ValueError that names the first in which they differ."""
    ours = [named for part in online for named in part.named_parameters()]
    theirs = list(target.named_parameters())
    if len(ours) != len(theirs):
        raise ValueError(
            f"the online network has {len(ours)} parameters and the target {len(theirs)}; "
            "build the target with copy.deepcopy(online)"
        )
    for (name, a), (other, b) in zip(ours, theirs, strict=True):
        if a.shape != b.shape:
            raise ValueError(
                f"{name} has shape {tuple(a.shape)}, and {other} of the target {tuple(b.shape)}; "
                "build the target with copy.deepcopy(online)"
            )
        if a.device != b.device or a.dtype != b.dtype:
            raise ValueError(
                f"{name} is {a.dtype} on {a.device}, and {other} of the target {b.dtype} on {b.device}; "
                "move both networks alike: online.to(...) and target.to(...)"
            )
    return [p for _, p in ours], [p for _, p in theirs]
