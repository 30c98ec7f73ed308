"""I-JEPA's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_registry.nn import multi_block_masks, tokens

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Section 3 of arXiv:2301.08243, with the smooth L1 distance to layer-normalized tokens of the authors' code."""
    x, config = views[0], model.config
    chosen = multi_block_masks(
        len(x),
        model.token_grid,
        num_targets=config.num_targets,
        target_scale=config.target_scale,
        generator=ctx.generator,
    )
    with torch.no_grad():
        whole = tokens(model.heads["teacher"][0], x).patches
    context = model.tokens(x, keep=chosen.context).patches
    distances = []
    for block in range(config.num_targets):
        places = chosen.targets[:, block]
        predictions = model.heads["predictor"](context, chosen.context, places)
        for sample in range(len(x)):
            wanted = whole[sample, places[sample]]
            wanted = wanted - wanted.mean(1, keepdim=True)
            wanted = wanted / (wanted.square().mean(1, keepdim=True) + 1e-5).sqrt()
            away = (predictions[sample] - wanted).abs()
            distances.append(torch.where(away < 1, away.square() / 2, away - 0.5).mean())
    return torch.stack(distances).mean()
