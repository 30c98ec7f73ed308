"""SwAV's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equations 1 to 3 and section 3.3 of arXiv:2006.09882, without a queue."""
    config, heads = model.config, model.heads
    features = torch.cat(_by_sizes(model.backbone, views))
    z = _unit(heads["projection_head"](features))
    scores = (z @ heads["prototypes"].weight.T).chunk(len(views))
    terms = []
    for large in (0, 1):
        code = _codes(scores[large].detach(), config.epsilon, config.sinkhorn_iterations)
        for number, score in enumerate(scores):
            if number != large:
                terms.append(-(code * torch.log_softmax(score / config.temperature, 1)).sum(1).mean())
    return sum(terms, torch.zeros((), dtype=torch.float64)) / len(terms)


def _codes(scores: Tensor, epsilon: float, rounds: int) -> Tensor:
    """Equation 3: exp(scores / epsilon), rows and columns brought to equal sums in turn."""
    q = torch.exp(scores / epsilon).T
    prototypes, samples = q.shape
    for _ in range(rounds):
        q = q / q.sum(1, keepdim=True) / prototypes
        q = q / q.sum(0, keepdim=True) / samples
    return (q * samples).T


def _by_sizes(network: Any, views: list[Tensor]) -> list[Tensor]:
    """Apply a network to all views of one size as one batch."""
    found: list[Tensor] = []
    for size in dict.fromkeys(view.shape[1:] for view in views):
        same = [view for view in views if view.shape[1:] == size]
        found += network(torch.cat(same)).chunk(len(same))
    return found


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()
