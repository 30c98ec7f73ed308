"""iBOT's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_registry.nn import tokens

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equations 2 and 3 of arXiv:2111.07832, view by view and image by image, on the masks that the method draws."""
    config, heads = model.config, model.heads
    batch = len(views[0])
    masks = model.method.masks(batch, model.token_grid, ctx).mask.view(2, batch, -1)
    share = min(1.0, ctx.epoch / config.warmup_teacher_epochs) if config.warmup_teacher_epochs else 1.0
    sharp = config.warmup_teacher_temperature * (1 - share) + config.teacher_temperature * share
    student = [
        tokens(model.backbone, view, mask=masks[number], mask_token=heads["mask_token"]())
        if number < 2
        else tokens(model.backbone, view)
        for number, view in enumerate(views)
    ]
    with torch.no_grad():
        network, *target_heads = heads["target"]
        teacher = [tokens(network, view) for view in views[:2]]
        wanted = [
            torch.softmax((_outputs(found.prefix[:, 0], *target_heads[:2]) - heads["center"].value) / sharp, 1)
            for found in teacher
        ]
        wanted_patches = [
            torch.softmax((_outputs(found.patches, *target_heads[-2:]) - heads["patch_center"].value) / sharp, 2)
            for found in teacher
        ]
    own = heads["projection_head"], heads["last_layer"]
    patch_own = own if config.shared_head else (heads["patch_projection_head"], heads["patch_last_layer"])
    pairs, images = [], []
    for large in (0, 1):
        for number, found in enumerate(student):
            if number != large:
                given = torch.log_softmax(_outputs(found.prefix[:, 0], *own) / config.temperature, 1)
                pairs.append(-(wanted[large] * given).sum(1).mean())
        given = torch.log_softmax(_outputs(student[large].patches, *patch_own) / config.temperature, 2)
        entropy = -(wanted_patches[large] * given).sum(2)  # [batch, N]
        for row, mask in zip(entropy, masks[large], strict=True):
            images.append((row * mask).sum() / max(1, int(mask.sum())))
    total: Tensor = torch.stack(pairs).mean() + config.patch_weight * torch.stack(images).mean()
    return total


def _outputs(x: Tensor, projection: Any, last: Any) -> Tensor:
    """A bottleneck of length 1, and a last layer whose rows have length 1."""
    found: Tensor = _unit(projection(x)) @ _unit(last.weight).T
    return found


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()
