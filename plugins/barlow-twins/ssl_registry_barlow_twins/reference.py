"""Barlow Twins's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Algorithm 1 of arXiv:2103.03230, with the deviations of the population, as BatchNorm has them."""
    a, b = (model.heads["projection_head"](model.backbone(view)) for view in views)
    normed = [(z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt() for z in (a, b)]
    c = normed[0].T @ normed[1] / len(a)
    identity = torch.eye(c.shape[0], dtype=c.dtype)
    differences = (c - identity).square()
    weights = identity + model.config.lambd * (1 - identity)
    total: Tensor = (weights * differences).sum() * model.config.loss_scale
    return total
