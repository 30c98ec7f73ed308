"""SimCLR's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equation 1 of arXiv:2002.05709 for each view of each sample; equation 6 of arXiv:2110.06848 for DCL and DCLW."""
    config, count = model.config, len(views[0])
    z = torch.cat([model.heads["projection_head"](model.backbone(view)) for view in views])
    z = z / z.square().sum(1, keepdim=True).sqrt()
    cosines = z @ z.T
    agreements = torch.exp(torch.stack([cosines[i, i + count] for i in range(count)]).detach() / config.sigma)
    losses = []
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        others = [k for k in range(2 * count) if k != i and not (config.loss != "ntxent" and k == j)]
        weight = 2 - agreements[i % count] / agreements.mean() if config.loss == "dclw" else 1.0
        losses.append(
            -weight * cosines[i, j] / config.temperature + torch.logsumexp(cosines[i, others] / config.temperature, 0)
        )
    return torch.stack(losses).mean()
