"""DINO's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equation 3 of arXiv:2104.14294, over all pairs of a teacher's large view and another view of the student."""
    config, heads = model.config, model.heads
    bottleneck = heads["projection_head"](torch.cat(_by_sizes(model.backbone, views)))
    student = _outputs(bottleneck, heads["last_layer"]).chunk(len(views))
    with torch.no_grad():
        network, projection, last = heads["target"]
        teacher = _outputs(projection(torch.cat(_by_sizes(network, views[:2]))), last).chunk(2)
    share = min(1.0, ctx.epoch / config.warmup_teacher_epochs) if config.warmup_teacher_epochs else 1.0
    sharp = config.warmup_teacher_temperature * (1 - share) + config.teacher_temperature * share
    terms = []
    for large in (0, 1):
        wanted = torch.softmax((teacher[large] - heads["center"].value) / sharp, 1)
        for number, output in enumerate(student):
            if number != large:
                terms.append(-(wanted * torch.log_softmax(output / config.temperature, 1)).sum(1).mean())
    return sum(terms, torch.zeros((), dtype=torch.float64)) / len(terms)


def _outputs(x: Tensor, last: Any) -> Tensor:
    """Appendix C: bottleneck of length 1, and a last layer whose rows have length 1."""
    return _unit(x) @ _unit(last.weight).T


def _by_sizes(network: Any, views: list[Tensor]) -> list[Tensor]:
    """Apply a network to all views of one size as one batch."""
    found: list[Tensor] = []
    for size in dict.fromkeys(view.shape[1:] for view in views):
        same = [view for view in views if view.shape[1:] == size]
        found += network(torch.cat(same)).chunk(len(same))
    return found


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()
