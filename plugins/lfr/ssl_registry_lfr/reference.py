"""LFR's loss once more, written from the paper and its code, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """The batch-wise Barlow Twins loss of arXiv:2310.07756, a target at a time, averaged over the targets."""
    features = model.heads["adapter"](model.backbone(views[0]))
    predictors, projectors = model.heads["predictors"], model.heads["projectors"]
    losses = []
    for place, index in enumerate(model.heads["selection"].as_list()):
        predictor = predictors[index if len(predictors) == len(projectors) else place]
        p, z = predictor(features), projectors[index](views[0]).detach()
        similarities = (p @ z.T) / (p.norm(dim=1)[:, None] * z.norm(dim=1)[None])
        wanted = torch.eye(len(p), dtype=p.dtype)
        weights = wanted + model.config.redundancy_weight * (1 - wanted)
        losses.append((weights * (similarities - wanted).square()).sum())
    return torch.stack(losses).mean()
