"""NNCLR's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equation 4 of arXiv:2104.14548 in both directions."""
    z = [model.heads["projection_head"](model.backbone(view)) for view in views]
    p = [_unit(model.heads["prediction_head"](each)) for each in z]
    support = _unit(model.heads["queue"].values.to(torch.float64))
    terms = []
    for seen, other in ((0, 1), (1, 0)):
        nearest = torch.stack([support[int((support @ each).argmax())] for each in _unit(z[seen]).detach()])
        similarities = nearest @ p[other].T / model.config.temperature
        terms.append(-torch.log_softmax(similarities, dim=1).diagonal().mean())
    return (terms[0] + terms[1]) / 2


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()
