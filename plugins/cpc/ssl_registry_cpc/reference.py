"""CPC's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equations 3 and 4 of arXiv:1807.03748, a prediction at a time, with the negatives of its table 2."""
    config = model.config
    z = model.tokens(views[0]).patches
    context, _ = model.heads["context"](z)
    batch, steps, dim = z.shape
    matrices = model.heads["predictors"].weight.view(config.prediction_steps, dim, -1)
    places = [(sample, step) for sample in range(batch) for step in range(steps)]
    if config.negatives != "sample" and config.num_negatives < len(places):
        order = torch.randperm(len(places), generator=ctx.shared_generator).tolist()
        places = [places[place] for place in order[: config.num_negatives]]
    rows = torch.tensor([sample * steps + step for sample, step in places])
    total = torch.zeros((), dtype=z.dtype)
    for k, matrix in enumerate(matrices, 1):
        for sample in range(batch):
            for t in range(steps - k):
                allowed = [_allowed(config.negatives, place, (sample, t + k)) for place in places]
                vectors = torch.cat([z[sample, t + k][None], z.flatten(0, 1)[rows[torch.tensor(allowed)]]])
                f = vectors @ (matrix @ context[sample, t])
                total = total + (torch.logsumexp(f, 0) - f[0]) / (steps - k)
    mean: Tensor = total / (batch * config.prediction_steps)
    return mean


def _allowed(negatives: str, place: tuple[int, int], positive: tuple[int, int]) -> bool:
    if negatives == "others":
        return place[0] != positive[0]
    return place != positive and (negatives == "mixed" or place[0] == positive[0])
