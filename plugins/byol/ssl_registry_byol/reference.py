"""BYOL's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equation 2 of arXiv:2006.07733 in both directions: |p/|p| - z/|z||^2, of which the method has (x - 2) / 2."""
    total = torch.zeros((), dtype=torch.float64)
    for seen, other in (views, reversed(views)):
        p = model.heads["prediction_head"](model.heads["projection_head"](model.backbone(seen)))
        with torch.no_grad():
            z = model.heads["target"](other)
        p = p / p.square().sum(1, keepdim=True).sqrt()
        z = z / z.square().sum(1, keepdim=True).sqrt()
        squared_distance = (p - z).square().sum(1)
        total = total + ((squared_distance - 2) / 2).mean()
    return total / 2
