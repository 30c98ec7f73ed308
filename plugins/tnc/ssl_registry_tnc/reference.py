"""TNC's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equation 1 of arXiv:2106.00750, with windows that are cut one at a time."""
    (x,), config = views, model.config
    batch, _, length = x.shape
    window = config.window or math.ceil(length / 4)
    last = length - window
    own = [int(share * (last + 1)) for share in torch.rand(batch, generator=ctx.generator).tolist()]
    shifts = torch.randn(config.pairs, batch, generator=ctx.generator) * config.neighborhood * window

    def encode(starts: list[list[int]]) -> Tensor:
        windows = [x[i, :, start : start + window] for row in starts for i, start in enumerate(row)]
        return model.backbone(torch.stack(windows))  # type: ignore[no-any-return]

    near = [[min(max(own[i] + round(shift), 0), last) for i, shift in enumerate(row)] for row in shifts.tolist()]
    z, neighbors = encode([own]), encode(near)
    if config.unlabeled == "time":
        distance = round(2 * config.neighborhood * window)
        far = []
        for row in torch.rand(config.pairs, batch, generator=ctx.generator).tolist():
            allowed = [[s for s in range(last + 1) if abs(s - start) > distance] for start in own]
            far.append([places[int(share * len(places))] for places, share in zip(allowed, row, strict=True)])
        others = encode(far)
    else:
        order = torch.randperm(batch - 1, generator=ctx.shared_generator)[: config.pairs].tolist()
        others = torch.stack([z[(i + 1 + shift) % batch] for shift in order for i in range(batch)])
    discriminator, w = model.heads["discriminator"], float(config.weight)
    d_near, d_other = (torch.sigmoid(discriminator(_paired(z, each))) for each in (neighbors, others))
    unlabeled = (1 - w) * torch.log(1 - d_other) + w * torch.log(d_other)
    total: Tensor = -torch.log(d_near).mean() - unlabeled.mean()
    return total


def _paired(z: Tensor, others: Tensor) -> Tensor:
    return torch.stack([torch.cat([z[row % len(z)], other]) for row, other in enumerate(others)])
