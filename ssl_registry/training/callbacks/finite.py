"""What is not finite in a training: weights, the optimizer's state, samples of a batch. Looking costs one sum each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["find_not_finite", "not_finite_buffers", "sums_of_samples"]


def find_not_finite(model: nn.Module, optimizers: Sequence[Optimizer], meant: Set[str] = frozenset()) -> list[str]:
    """Return the names of parameters, buffers and parts of the optimizer's state that hold NaN or infinity.

    The optimizer's state counts: a second moment that has overflowed is not restored to use by any later step.

    Args:
        model: whose own part is looked at, where weights are sharded.
        optimizers: that train it.
        meant: buffers to leave out.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> find_not_finite(layer, [])
        []
        >>> _ = nn.init.constant_(layer.bias, float("inf"))
        >>> find_not_finite(layer, [])
        ['bias']
    """
    return _not_finite((name, value) for name, value in _named(model, optimizers) if name not in meant)


def not_finite_buffers(model: nn.Module) -> frozenset[str]:
    """Return the names of buffers that hold NaN or infinity, such as a mask of minus infinity."""
    return frozenset(_not_finite(model.named_buffers()))


def sums_of_samples(views: Sequence[Tensor]) -> Tensor | None:
    """Return a number for each sample of a batch, on its device, that is not finite where the sample is not.

    Args:
        views: each [batch, ...].

    Returns:
        [batch] in float32; None for integers, which are finite. Values that add up beyond 3e38 count as infinity.
    """
    sums = [view.detach().flatten(1).sum(1, dtype=torch.float32) for view in views if view.is_floating_point()]
    return torch.stack(sums).sum(0) if sums else None


def _named(model: nn.Module, optimizers: Sequence[Optimizer]) -> Iterator[tuple[str, Tensor]]:
    names = {}
    for name, parameter in model.named_parameters():
        names[id(parameter)] = name
        yield name, parameter
    yield from model.named_buffers()
    for optimizer in optimizers:
        for trained, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    yield f"{key} of {names.get(id(trained), 'a parameter')}", value


@torch.no_grad()
def _not_finite(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    # A sum of NaN or infinity is not finite: one kernel a tensor, and one wait a device.
    tensors: dict[torch.device, list[tuple[str, Tensor]]] = defaultdict(list)
    for name, value in named:
        local: Tensor = value.to_local() if hasattr(value, "to_local") else value  # a shard's own part
        if local.is_floating_point():
            tensors[local.device].append((name, local))
    found = []
    for group in tensors.values():
        finite = torch.stack([value.sum(dtype=torch.float32) for _, value in group]).isfinite().tolist()
        # Large finite values can overflow in a sum, so what is found is looked at exactly.
        suspects = [one for one, is_finite in zip(group, finite, strict=True) if not is_finite]
        found += [name for name, value in suspects if not bool(value.isfinite().all())]
    return found
