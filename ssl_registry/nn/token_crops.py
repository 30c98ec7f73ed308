"""`forward_token_crops`: class and patch tokens of views of several sizes, some of them with masked patches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ssl_registry.nn.tokens import Tokens, tokens

__all__ = ["TokenCrops", "class_and_patch_outputs", "class_token", "forward_token_crops"]


class TokenCrops(NamedTuple):
    """What a network makes of several views of a batch.

    Args:
        classes: the class token of each view, [views, batch, dim].
        patches: patch tokens of the large views, one view after the other, [large views * batch, N, dim].
    """

    classes: Tensor
    patches: Tensor


def forward_token_crops(
    network: nn.Module,
    views: Sequence[Tensor],
    *,
    large: int = 2,
    mask: Tensor | None = None,
    mask_token: Tensor | None = None,
) -> TokenCrops:
    """Pass views through a network for its tokens: the large ones in one pass, the small ones by sizes.

    Sources: Zhou et al., 2021, arXiv:2111.07832 (iBOT), section 3.2: class tokens of all views, patch tokens of the
    large ones, which the student sees masked; Oquab et al., 2023, arXiv:2304.07193 (DINOv2), takes the same.

    Args:
        network: a backbone with tokens; see `tokens`.
        views: each [batch, ...]; the large ones first, of one size.
        large: how many of them are large.
        mask: True where an embedded patch of the large views is replaced by ``mask_token``, [large * batch, N] bool.
        mask_token: the learned vector.

    Raises:
        BackboneError: if the network has no tokens, or cannot mask patches.

    Example:
        >>> import timm
        >>> options = {"img_size": 16, "patch_size": 4, "depth": 1, "num_classes": 0, "dynamic_img_size": True}
        >>> vit = timm.create_model("vit_tiny_patch16_224", **options)
        >>> views = [torch.zeros(3, 3, 16, 16), torch.zeros(3, 3, 16, 16), torch.zeros(3, 3, 8, 8)]
        >>> found = forward_token_crops(vit, views)
        >>> found.classes.shape, found.patches.shape
        (torch.Size([3, 3, 192]), torch.Size([6, 16, 192]))
    """
    token = None if mask is None else mask_token
    first = tokens(network, torch.cat(list(views[:large])), mask=mask, mask_token=token)
    classes = [class_token(network, first)]
    for _, group in groupby(views[large:], key=lambda view: view.shape[1:]):
        classes.append(class_token(network, tokens(network, torch.cat(list(group)))))
    return TokenCrops(torch.cat(classes).view(len(views), -1, first.patches.shape[-1]), first.patches)


def class_token(network: nn.Module, found: Tokens) -> Tensor:
    """Return a network's class token, or the mean of its patch tokens where it has none, as a Swin.

    Args:
        network: what computed the tokens.
        found: them.

    Returns:
        [batch, dim].

    Example:
        >>> class_token(nn.Identity(), Tokens(torch.zeros(1, 0, 2), torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), (1, 2)))
        tensor([[2., 3.]])
    """
    # timm's networks say None where there are registers alone; a module of the user's that says nothing has the class
    # token first.
    without = not found.prefix.shape[1] or getattr(network, "cls_token", found) is None
    return found.patches.mean(1) if without else found.prefix[:, 0]


def class_and_patch_outputs(heads: Sequence[nn.Module], found: TokenCrops, places: Tensor) -> tuple[Tensor, Tensor]:
    """Pass class tokens and some patch tokens through their heads.

    Args:
        heads: projection head and last layer, of both, or first those of class tokens and then those of patches.
        found: the tokens.
        places: numbers of patches in [large views * batch * N], [M], such as those of `ViewMasks`.

    Returns:
        Outputs of class tokens, [views, batch, K], and of patches, [M, K].

    Example:
        >>> crops = TokenCrops(torch.zeros(2, 3, 4), torch.zeros(6, 5, 4))
        >>> outputs = class_and_patch_outputs([nn.Linear(4, 8), nn.Linear(8, 7)], crops, torch.tensor([0, 29]))
        >>> [tuple(part.shape) for part in outputs]
        [(2, 3, 7), (2, 7)]
    """
    projection, last = heads[:2]
    classes = last(projection(found.classes.flatten(0, 1)))
    projection, last = heads[-2:]
    patches = last(projection(found.patches.flatten(0, 1)[places]))
    return classes.unflatten(0, found.classes.shape[:2]), patches
