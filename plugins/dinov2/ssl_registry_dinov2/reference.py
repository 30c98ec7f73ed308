"""DINOv2's loss and DINOv3's Gram anchoring once more, written from the papers, for the kit to compare with."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn import tokens

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Section 4 of arXiv:2304.07193 and equation 2 of arXiv:2508.10104, on the masks that the method draws."""
    config, heads, method = model.config, model.heads, model.method
    large = views[:2]
    if config.gram:
        views = [*(_halved(view) for view in large), *views[2:]]
    batch = len(views[0])
    masks = method.masks(batch, model.token_grid, ctx).mask.view(2, batch, -1)
    token = heads["mask_token"]()
    masked = [
        tokens(model.backbone, view, mask=mask, mask_token=token) for view, mask in zip(views[:2], masks, strict=True)
    ]
    classes = [found.prefix[:, 0] for found in [*masked, *(tokens(model.backbone, view) for view in views[2:])]]
    with torch.no_grad():
        network, *target_heads = heads["target"]
        teacher = [tokens(network, view) for view in views[:2]]
        outputs = [_outputs(found.prefix[:, 0], *target_heads[:2]) for found in teacher]
        patch_outputs = [
            _outputs(found.patches, *target_heads[-2:])[mask] for found, mask in zip(teacher, masks, strict=True)
        ]
        share = min(1.0, ctx.epoch / config.warmup_teacher_epochs) if config.warmup_teacher_epochs else 1.0
        sharp = config.warmup_teacher_temperature * (1 - share) + config.teacher_temperature * share
        if config.centering == "sinkhorn":
            wanted = list(_sinkhorn(torch.cat(outputs), sharp).chunk(2))
            both = _sinkhorn(torch.cat(patch_outputs), sharp)
            wanted_patches = [both[: len(patch_outputs[0])], both[len(patch_outputs[0]) :]]
        else:
            wanted = [torch.softmax((part - heads["center"].value) / sharp, 1) for part in outputs]
            wanted_patches = [torch.softmax((part - heads["patch_center"].value) / sharp, 1) for part in patch_outputs]
    own = heads["projection_head"], heads["last_layer"]
    patch_own = own if config.shared_head else (heads["patch_projection_head"], heads["patch_last_layer"])
    pairs, images = [], []
    for place in (0, 1):
        for number, found in enumerate(classes):
            if number != place:
                given = torch.log_softmax(_outputs(found, *own) / config.temperature, 1)
                pairs.append(-(wanted[place] * given).sum(1).mean())
        rest = wanted_patches[place]
        for patches, mask in zip(masked[place].patches, masks[place], strict=True):
            here, rest = rest[: int(mask.sum())], rest[int(mask.sum()) :]
            given = torch.log_softmax(_outputs(patches[mask], *patch_own) / config.temperature, 1)
            images.append(-(here * given).sum() / max(1, len(here)))
    total = torch.stack(pairs).mean() + config.patch_weight * torch.stack(images).mean()
    total = total + config.koleo_weight * sum(_koleo(found) for found in classes[:2])
    if config.gram and ctx.step >= config.gram_start:
        with torch.no_grad():
            anchors = [tokens(heads["gram_teacher"][0], view) for view in large]
            small = [_resized(found.patches, found.grid, model.token_grid) for found in anchors]
        terms = [
            ((_gram(image) - _gram(anchor)) ** 2).mean()
            for found, wanted_view in zip(masked, small, strict=True)
            for image, anchor in zip(found.patches, wanted_view, strict=True)
        ]
        total = total + config.gram_weight * torch.stack(terms).mean()
    return cast(Tensor, total)


def _outputs(x: Tensor, projection: Any, last: Any) -> Tensor:
    """A bottleneck of length 1, and a last layer whose rows have length 1."""
    found: Tensor = _unit(projection(x)) @ _unit(last.weight).T
    return found


def _sinkhorn(outputs: Tensor, epsilon: float) -> Tensor:
    """Three times: prototypes share the samples equally, then each sample is shared out as a whole."""
    q = torch.exp((outputs - outputs.max()) / epsilon)
    for _ in range(3):
        q = q / q.sum(0, keepdim=True)
        q = q / q.sum(1, keepdim=True)
    return q


def _koleo(x: Tensor) -> Tensor:
    distances = (_unit(x).unsqueeze(0) - _unit(x).unsqueeze(1)).square().sum(2) + 1e-16  # [batch, batch]
    others = ~torch.eye(len(x), dtype=torch.bool)
    return -torch.stack([row[other].min().sqrt().log() for row, other in zip(distances, others, strict=True)]).mean()


def _gram(patches: Tensor) -> Tensor:
    return _unit(patches) @ _unit(patches).T


def _halved(view: Tensor) -> Tensor:
    """The mean of each square of two by two pixels."""
    return (view[..., ::2, ::2] + view[..., 1::2, ::2] + view[..., ::2, 1::2] + view[..., 1::2, 1::2]) / 4


def _resized(patches: Tensor, grid: Any, size: Any) -> Tensor:
    """Bicubic interpolation of the map of patches."""
    planes = patches.transpose(1, 2).reshape(len(patches), -1, *grid)
    return F.interpolate(planes, tuple(size), mode="bicubic").flatten(2).transpose(1, 2)


def _unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()
