"""SimMIM's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_registry.nn import random_mask

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Section 3.4 of arXiv:2111.09886: the mean absolute error over the pixels of masked patches."""
    x, grid, config = views[0], model.token_grid, model.config
    sides = [length // steps for length, steps in zip(x.shape[2:], grid, strict=True)]
    unit = model.method.unit(sides, grid)
    chosen = random_mask(len(x), grid, config.mask_ratio, unit=unit, generator=ctx.generator)
    tokens = model.tokens(x, mask=chosen.mask, mask_token=model.heads["mask_token"]()).patches
    errors = []
    for image, mask, found in zip(x, chosen.mask, tokens, strict=True):
        for index in range(len(found)):
            if mask[index]:
                prediction = model.heads["decoder"](found[index])
                errors.append((prediction - _pixels(image, grid, index)).abs().mean())
    return torch.stack(errors).mean()


def _pixels(image: Tensor, grid: tuple[int, ...], index: int) -> Tensor:
    """Cut one patch out of an image [channels, height, width]; its pixels row by row, each with its channels."""
    height, width = image.shape[1] // grid[0], image.shape[2] // grid[1]
    row, column = divmod(index, grid[1])
    patch = image[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
    return patch.permute(1, 2, 0).flatten()
