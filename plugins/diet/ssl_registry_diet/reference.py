"""DIET's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Cross-entropy with the smoothed target of arXiv:2302.10260, sample by sample."""
    features = model.backbone(views[0])
    weights = model.heads["classifier"].weight
    share = model.config.label_smoothing
    total = features.new_zeros(())
    for feature, number in zip(features, ctx.indices.tolist(), strict=True):
        scores = weights @ feature
        likelihood = scores - torch.logsumexp(scores, 0)
        target = torch.full_like(scores, share / len(scores))
        target[number] += 1 - share
        total = total - (target * likelihood).sum()
    mean: Tensor = total / len(features)
    return mean
