"""LeJEPA's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Both terms of arXiv:2511.08544, the integral over [-t_max, t_max], in complex numbers and knot by knot."""
    config = model.config
    z = [model.heads["projection_head"](model.backbone(view)) for view in views]
    center = sum(z[: config.global_views]) / config.global_views
    prediction = sum((center - each).square().mean() for each in z) / len(z)
    a = torch.randn(z[0].shape[1], config.directions, generator=ctx.shared_generator, dtype=z[0].dtype)
    a = a / a.square().sum(0).sqrt()
    step = config.t_max / (config.knots - 1)
    gaussian = torch.zeros((), dtype=z[0].dtype)
    for each in z:
        for k in range(1 - config.knots, config.knots):
            t = k * step
            target = math.exp(-t * t / 2)
            found = torch.exp(1j * t * (each @ a)).mean(0)
            weight = step / 2 if abs(k) == config.knots - 1 else step
            gaussian = gaussian + len(each) * weight * target * (found - target).abs().square().mean() / len(z)
    total: Tensor = (1 - config.lambd) * prediction + config.lambd * gaussian
    return total
