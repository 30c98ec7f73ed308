"""MAE's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_registry.nn import random_mask

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Section 3 of arXiv:2111.06377: the mean squared error of masked patches, patch by patch."""
    x, grid, config = views[0], model.token_grid, model.config
    chosen = random_mask(len(x), grid, config.mask_ratio, generator=ctx.generator)
    seen = model.tokens(x, keep=chosen.keep)
    predictions = model.heads["decoder"](seen.patches, chosen.keep, chosen.masked, prefix=seen.prefix)
    errors = []
    for image, indices, prediction in zip(x, chosen.masked.tolist(), predictions, strict=True):
        for index, found in zip(indices, prediction, strict=True):
            wanted = _pixels(image, grid, index)
            if config.normalize_pixels and len(wanted) > 1:
                wanted = (wanted - wanted.mean()) / (wanted.var() + 1e-6).sqrt()
            errors.append((found - wanted).square().mean())
    return torch.stack(errors).mean()


def _pixels(image: Tensor, grid: tuple[int, ...], index: int) -> Tensor:
    """Cut one patch out of a sample; its pixels row by row, or its moments, each with its channels."""
    if image.ndim == 1:
        return image[index : index + 1]
    if image.ndim == 2:
        length = image.shape[1] // grid[0]
        return image[:, index * length : (index + 1) * length].T.flatten()
    height, width = image.shape[1] // grid[0], image.shape[2] // grid[1]
    row, column = divmod(index, grid[1])
    patch = image[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
    return patch.permute(1, 2, 0).flatten()
