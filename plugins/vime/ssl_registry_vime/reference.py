"""VIME's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equations 3 to 6 of Yoon et al., 2020, a row at a time."""
    (x,), config = views, model.config
    n, d = x.shape
    replaced = torch.rand(n, d, generator=ctx.generator) < config.mask_probability
    corrupted = model.heads["marginals"].corrupt(x, replaced, generator=ctx.generator)
    h = model.backbone(corrupted)
    probabilities, guesses = model.heads["mask_estimator"](h).sigmoid(), model.heads["feature_estimator"](h)
    total = torch.zeros((), dtype=x.dtype)
    for row in range(n):
        p = torch.where(corrupted[row] == x[row], 1 - probabilities[row], probabilities[row])
        total = total - p.log().sum() / d
        total = total + config.feature_weight * ((x[row] - guesses[row]) ** 2).sum() / d
    return total / n
