"""MoCo's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equation 1 of arXiv:1911.05722 with a queue; algorithm 1 of arXiv:2104.02057 without."""
    config, heads = model.config, model.heads

    def query(view: Tensor) -> Tensor:
        z = heads["projection_head"](model.backbone(view))
        return _unit(heads["prediction_head"](z) if config.version == "v3" else z)

    def crossed(q: Tensor, positive: Tensor, others: Tensor) -> Tensor:
        to_positive = (q * positive).sum(1) / config.temperature
        to_others = q @ others.T / config.temperature
        terms: Tensor = (torch.logsumexp(to_others, 1) - to_positive).mean()
        return terms

    if config.version == "v3":
        with torch.no_grad():
            keys = [_unit(heads["target"](view)) for view in views]
        both = crossed(query(views[0]), keys[1], keys[1]) + crossed(query(views[1]), keys[0], keys[0])
        scaled: Tensor = both * 2 * config.temperature
        return scaled
    terms = []
    for first, second in ((0, 1), (1, 0)) if config.symmetric else ((0, 1),):
        key = _keys_of_groups(model, views[second], ctx)
        q = query(views[first])
        # The positive is one key more beside the queue: a row of its own for each query.
        to_positive = (q * key).sum(1, keepdim=True) / config.temperature
        to_queue = q @ heads["queue"].values.to(q.dtype).T / config.temperature
        terms.append((torch.logsumexp(torch.cat([to_positive, to_queue], 1), 1) - to_positive[:, 0]).mean())
    return sum(terms, torch.zeros((), dtype=torch.float64)) / len(terms)


@torch.no_grad()
def _keys_of_groups(model: Any, view: Tensor, ctx: Any) -> Tensor:
    """Compute keys in groups that are drawn at random, so that BatchNorm tells none from its query's batch."""
    count, size = len(view), model.config.key_group
    groups = min(max(2, count // size), count // 2) if size else 1
    order = torch.randperm(count, generator=ctx.generator) if groups > 1 else torch.arange(count)
    keys: dict[int, Tensor] = {}
    for group in order.tensor_split(groups):
        keys |= dict(zip(group.tolist(), _unit(model.heads["target"](view[group])), strict=True))
    return torch.stack([keys[i] for i in range(count)])


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()
