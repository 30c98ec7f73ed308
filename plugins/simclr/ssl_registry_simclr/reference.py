"""SimCLR's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equation 1 and algorithm 1 of arXiv:2002.05709: l(i, j) of both views of each sample, and their mean."""
    z = torch.cat([model.heads["projection_head"](model.backbone(view)) for view in views])
    z = z / z.square().sum(1, keepdim=True).sqrt()
    similarities = torch.exp(z @ z.T / model.config.temperature)
    count = len(views[0])
    losses = []
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        losses.append(-torch.log(similarities[i, j] / (similarities[i].sum() - similarities[i, i])))
    return torch.stack(losses).mean()
