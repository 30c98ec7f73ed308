"""TS2Vec's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_registry.nn import embedding_dim
from ssl_registry_ts2vec.crops import draw_crops

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Algorithm 1 of arXiv:2106.10466 with its equations 1 and 2, a group at a time."""
    (x,), config = views, model.config
    crops = draw_crops(x.shape[2], ctx.shared_generator.initial_seed())
    room = x.shape[2] - crops.end_2 + 1
    starts = (torch.rand(len(x), generator=ctx.generator) * room).long().tolist()
    both = []
    for begin, end in ((crops.start_1, crops.end_1), (crops.start_2, crops.end_2)):
        crop = torch.stack([sample[:, start + begin : start + end] for sample, start in zip(x, starts, strict=True)])
        mask = torch.rand(len(x), end - begin, generator=ctx.generator) < config.mask_ratio
        zero = torch.zeros(embedding_dim(model.backbone, model.token_dim), dtype=x.dtype)
        found = model.tokens(crop, mask=mask, mask_token=zero).patches
        both.append({begin + moment: found[:, moment] for moment in range(end - begin)})
    common = sorted(both[0].keys() & both[1].keys())
    r, other = (torch.stack([view[moment] for moment in common], 1) for view in both)  # [B, T, dim]
    scales: list[Tensor] = []
    while True:
        samples = [_dual(r[:, t], other[:, t]) for t in range(r.shape[1])]
        times = [_dual(r[i], other[i]) for i in range(len(r))]
        scales.append(config.alpha * sum(samples) / len(samples) + (1 - config.alpha) * sum(times) / len(times))
        if r.shape[1] == 1:
            return torch.stack(scales).mean()
        pairs = range(0, r.shape[1] - 1, 2)
        r, other = (torch.stack([torch.maximum(z[:, t], z[:, t + 1]) for t in pairs], 1) for z in (r, other))


def _dual(r: Tensor, other: Tensor) -> Tensor:
    """Equation 1 over the rows of two views, and once more with the views exchanged."""
    total, rows = torch.zeros((), dtype=r.dtype), len(r)
    for one, two in ((r, other), (other, r)):
        across = one @ two.T
        within = (one @ one.T)[~torch.eye(rows, dtype=torch.bool)].view(rows, rows - 1)
        among = torch.logsumexp(torch.cat([across, within], 1), 1)
        total = total + (among - across.diagonal()).sum()
    return total / (2 * rows)
