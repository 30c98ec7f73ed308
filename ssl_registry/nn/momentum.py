"""The moving average of a network's parameters, and the teacher that it makes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import chain
from operator import is_
from typing import Any, Self
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["MomentumTeacher", "deactivate_requires_grad", "update_momentum"]


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


class MomentumTeacher(nn.Sequential):
    """A copy of a network that is never trained by gradient and follows it by `update_momentum`.

    It is the target of BYOL (Grill et al., 2020, arXiv:2006.07733, section 3.1), the key encoder of MoCo, the teacher
    of DINO. The parts are copied, so build it where they are built, and move it in `on_step_end`:

        teacher = MomentumTeacher(backbone, projection_head)
        update_momentum((backbone, projection_head), teacher, cosine_schedule(ctx.step - 1, ctx.max_steps, 0.996, 1.0))

    In train mode its BatchNorms use the statistics of each batch and keep running statistics of their own, as in the
    code of these papers; buffers are not averaged. All else is in evaluation mode for ever: dropout and stochastic
    depth are for the student alone.

    Args:
        *parts: modules that follow each other, each copied; ``teacher[0]`` is the copy of the first.

    Example:
        >>> online = nn.Linear(2, 2)
        >>> teacher = MomentumTeacher(online, nn.Dropout())
        >>> teacher(torch.zeros(1, 2)).requires_grad, teacher[0].weight is online.weight, teacher[1].training
        (False, False, False)
    """

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__(*map(deepcopy, parts))
        deactivate_requires_grad(self)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set this module and its BatchNorms to a mode, and all else to evaluation."""
        super().train(mode)
        for part in self.modules():
            part.training = mode and (part is self or isinstance(part, _BatchNorm))
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> Any:
        """Apply the parts one after the other, without gradient."""
        for part in self:
            x = part(x)
        return x

    def __getitem__(self, index: Any) -> Any:
        # nn.Sequential builds a slice as type(self)(layers), which would copy them.
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)


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
