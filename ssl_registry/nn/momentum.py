"""The moving average of a network's parameters, and the schedule of its momentum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MomentumUpdater", "cosine_schedule", "deactivate_requires_grad", "update_momentum"]


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


def update_momentum(model: nn.Module, model_ema: nn.Module, m: float) -> None:
    """Move a network's moving average: ema = m * ema + (1 - m) * parameter.

    Parameters only: buffers, such as BatchNorm's statistics, stay ``model_ema``'s own. Use a
    `MomentumUpdater` to do this at every step.

    Source: Grill et al., 2020, arXiv:2006.07733, section 3.1, equation 1.

    Args:
        model: the online network.
        model_ema: the target, with the same parameters in the same order.
        m: the momentum, from 0 (copy) to 1 (keep).

    Raises:
        ValueError: if ``m`` is out of range, or the two differ in structure, device or dtype.
    """
    _lerp(*_pair(model, model_ema), m)


class MomentumUpdater:
    """`update_momentum` for every step: the lists of parameters are made once.

    They are made again when a parameter or a submodule was replaced, which is noticed by identity. The
    updater can be pickled and copied along with its networks.

    Args:
        online: the network trained by gradient.
        target: its moving average.

    Raises:
        ValueError: if the two differ in structure, device or dtype.

    Example:
        >>> online, target = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> updater = MomentumUpdater(online, target)
        >>> updater.update(0.0)
        >>> torch.equal(online.weight, target.weight)
        True
    """

    def __init__(self, online: nn.Module, target: nn.Module) -> None:
        self.online = online
        self.target = target
        self._refresh()

    def update(self, m: float) -> None:
        """Move the target: target = m * target + (1 - m) * online.

        Args:
            m: the momentum, from 0 (copy) to 1 (keep).

        Raises:
            ValueError: if ``m`` is out of range, or the two differ in structure, device or dtype by now.
        """
        if self._watch is None or self._watch.has_changed():
            self._refresh()
        try:
            _lerp(self._parameters[0], self._parameters[1], m)
        except RuntimeError:
            # `.to()` keeps a parameter's identity, so one network can have moved without the other.
            _pair(self.online, self.target)
            raise

    def _refresh(self) -> None:
        self._parameters = _pair(self.online, self.target)
        self._watch: _Watch | None = _Watch(self.online, self.target)

    def __getstate__(self) -> dict[str, Any]:
        return {"online": self.online, "target": self.target}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.online, self.target = state["online"], state["target"]
        # Listed at first use: the networks may not be whole yet while a model is being unpickled.
        self._watch = None


class _Watch:
    """Notices that a parameter or submodule was added, removed or replaced.

    It remembers the modules' own dicts, because looking through them is far cheaper than walking the tree.
    """

    def __init__(self, *networks: nn.Module) -> None:
        parts = [part for network in networks for part in network.modules()]
        self._dicts: list[dict[str, Any]] = [part._parameters for part in parts]
        self._dicts += [part._modules for part in parts]
        self._entries = list(self._current())

    def _current(self) -> Iterator[object]:
        return chain.from_iterable(map(dict[str, Any].values, self._dicts))

    def has_changed(self) -> bool:
        same = sum(map(len, self._dicts)) == len(self._entries)
        return not (same and all(map(is_, self._current(), self._entries)))


def _lerp(online: list[Tensor], target: list[Tensor], m: float) -> None:
    if not 0.0 <= m <= 1.0:
        raise ValueError(f"m={m} is no momentum; it must lie between 0 and 1")
    if target:
        with torch.no_grad():
            torch._foreach_lerp_(target, online, 1.0 - m)


def _pair(online: nn.Module, target: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters of both; raise a ValueError that names the first in which they differ."""
    ours, theirs = list(online.named_parameters()), list(target.named_parameters())
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
