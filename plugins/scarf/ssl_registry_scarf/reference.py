"""SCARF's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ssl_registry.nn import random_mask

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Algorithm 1 of arXiv:2106.15147, lines 3 to 8, a row at a time; its 1/N in the logarithm is taken out again."""
    (x,), config = views, model.config
    rows, features = x.shape
    q = math.floor(round(config.corruption_rate * features, 6))
    chosen = random_mask(rows, (features,), q / features, generator=ctx.generator).masked.tolist()
    replaced = torch.tensor([[feature in some for feature in range(features)] for some in chosen])
    copies = model.heads["marginals"].corrupt(x, replaced, generator=ctx.generator)
    project = model.heads["projection_head"]
    z, other = project(model.backbone(x)), project(model.backbone(copies))
    total = torch.zeros((), dtype=x.dtype)
    for i in range(rows):
        s = torch.stack([z[i] @ other[k] / (z[i].norm() * other[k].norm()) for k in range(rows)]) / config.temperature
        total = total - torch.log(s[i].exp() / s.exp().mean())
    return total / rows + math.log(rows)
