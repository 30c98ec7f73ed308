"""data2vec's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_registry.nn import block_mask, random_mask, tokens

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equations 1 and 2 of arXiv:2202.03555: smooth L1 to the mean of the teacher's normalized top blocks."""
    x, config = views[0], model.config
    if x.ndim == 2:
        chosen = random_mask(len(x), model.token_grid, config.mask_ratio, generator=ctx.generator)
    else:
        least = config.min_block or (16 if x.ndim == 4 else 4)
        chosen = block_mask(len(x), model.token_grid, config.mask_ratio, min_patches=least, generator=ctx.generator)
    teacher = model.heads["teacher"][0]
    top = config.top_layers or min(6, max(1, len(teacher.blocks) // 2))
    with torch.no_grad():
        blocks = tokens(teacher, x, layers=range(-top, 0)).layers
    axis = 2 if config.target_norm == "layer" else 1
    mean = torch.stack([_standard(block, axis) for block in blocks]).mean(0)
    target = _standard(mean, 2)
    student = model.tokens(x, mask=chosen.mask, mask_token=model.heads["mask_token"]()).patches
    away = (model.heads["regression_head"](student) - target)[chosen.mask].abs()
    near = away.square() / (2 * config.beta)
    return torch.where(away <= config.beta, near, away - config.beta / 2).mean()


def _standard(x: Tensor, axis: int) -> Tensor:
    x = x - x.mean(axis, keepdim=True)
    return x / (x.square().mean(axis, keepdim=True) + 1e-5).sqrt()
