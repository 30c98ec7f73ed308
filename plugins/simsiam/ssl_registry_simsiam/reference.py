"""SimSiam's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equations 1 and 2 of arXiv:2011.10566, the gradient of each z stopped."""
    z = [model.heads["projection_head"](model.backbone(view)) for view in views]
    p = [model.heads["prediction_head"](each) for each in z]
    terms: list[Tensor] = []
    for prediction, target in ((p[0], z[1].detach()), (p[1], z[0].detach())):
        lengths = prediction.norm(dim=1) * target.norm(dim=1)
        terms.append(-((prediction * target).sum(1) / lengths).mean())
    return (terms[0] + terms[1]) / 2
