"""VICReg's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equation 6 of arXiv:2105.04906, from equations 1, 4 and 5."""
    config, n = model.config, len(views[0])
    embeddings = [model.heads["projection_head"](model.backbone(view)) for view in views]
    total: Tensor = config.invariance * (embeddings[0] - embeddings[1]).square().mean()
    for z in embeddings:
        centered = z - z.mean(0)
        covariances = centered.T @ centered / (n - 1)
        deviations = (covariances.diagonal() + 1e-4).sqrt()
        total = total + config.variance * torch.clamp(1 - deviations, min=0).mean()
        others = covariances - torch.diag(covariances.diagonal())
        total = total + config.covariance * others.square().sum() / z.shape[1]
    return total
