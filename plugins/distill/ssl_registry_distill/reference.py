"""The losses once more, written from their descriptions, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Mixup, then the divergence of two softmax distributions sample by sample, or the squared error."""
    config, x = model.config, views[0]
    if config.mixup:
        order = torch.randperm(len(x), generator=ctx.generator)
        share = torch.rand((), generator=ctx.generator)
        x = share * x + (1 - share) * x[order]
    with torch.no_grad():
        teacher = model.heads["teacher_model"].network[0](x)
    student = model.heads["projection_head"](model.backbone(x))
    if config.loss == "features":
        squares: Tensor = ((student - teacher) ** 2).sum() / teacher.numel()
        return squares
    queue = model.heads["queue"]
    known = queue.values[: min(int(queue.enqueued), len(queue.values))]
    unit = teacher / teacher.norm(dim=1, keepdim=True)
    anchors = torch.cat([unit, known])
    total = student.new_zeros(())
    for row, feature in zip(unit, student, strict=True):
        p = torch.softmax(anchors @ row / config.temperature, 0)
        q = torch.softmax(anchors @ (feature / feature.norm()) / config.temperature, 0)
        total = total + (p * (p.log() - q.log())).sum()
    mean: Tensor = total / len(student)
    return mean
