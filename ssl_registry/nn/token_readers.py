"""How a network gives its tokens: timm's vision transformers patch by patch, its other networks as a feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssl_registry.errors import BackboneError

__all__ = ["Tokens", "check_choice", "layer_numbers", "read_feature_map", "read_transformer", "refuse_hiding"]


class Tokens(NamedTuple):
    """What a network computes before pooling.

    It is a tuple so that hooks, DDP and FSDP2 find the tensors in it.

    Args:
        prefix: class and register tokens in timm's order, [batch, P, dim]; P is 0 where there are none.
        patches: the patch tokens row by row, or the steps of a signal, [batch, N, dim]; with ``keep`` those that
            were kept, in the order of ``keep``, [batch, K, dim].
        grid: positions along each axis, (rows, columns) or (steps,). Their product is N, also with ``keep``.
        layers: for each layer that was asked for its patch tokens, [batch, N or K, dim], before the last norm.
    """

    prefix: Tensor
    patches: Tensor
    grid: tuple[int, ...]
    layers: tuple[Tensor, ...] = ()


def read_transformer(
    network: Any,
    x: Tensor,
    *,
    keep: Tensor | None = None,
    mask: Tensor | None = None,
    mask_token: Tensor | None = None,
    layers: Sequence[int] = (),
) -> Tokens:
    """Compute what ``forward_features`` of timm's ``VisionTransformer`` and ``Eva`` computes, with a choice of patches.

    Arguments, result and errors are those of `ssl_registry.nn.tokens`.
    """
    numbers = layer_numbers(layers, len(network.blocks))
    rows, columns = network.patch_embed.dynamic_feat_size(tuple(x.shape[-2:]))
    if keep is not None or mask is not None:
        _check_can_hide(network)
        check_choice(keep, mask, mask_token, batch=len(x), patches=rows * columns, dim=network.embed_dim)
    x = network.patch_embed(x)  # [B, N, D], or [B, rows, columns, D] where sizes are dynamic
    if mask is not None and mask_token is not None:
        # Before positions are added, so that the network knows where a masked patch is: as the authors' code of
        # BEiT (Bao et al., 2021, arXiv:2106.08254) and iBOT (Zhou et al., 2021, arXiv:2111.07832).
        x = torch.where(mask.view(*x.shape[:-1], 1), mask_token.flatten().to(x.dtype), x)
    embedded = network._pos_embed(x)
    blocks: list[dict[str, Any]] = [{}] * len(network.blocks)  # further arguments of each
    if isinstance(embedded, tuple):  # Eva: with rotary embeddings; patch dropout is inside
        x, rope = embedded
        blocks = [{"rope": part} for part in _rope_by_block(network, x, rope, keep)]
    else:
        x = network.patch_drop(embedded)
    prefix = network.num_prefix_tokens
    if keep is not None:
        chosen = keep.unsqueeze(-1).expand(-1, -1, x.shape[-1])
        x = torch.cat([x[:, :prefix], x[:, prefix:].gather(1, chosen)], dim=1)  # [B, P + K, D]
    x = network.norm_pre(x)
    behind: dict[int, Tensor] = {}
    for number, (block, arguments) in enumerate(zip(network.blocks, blocks, strict=True)):
        if network.grad_checkpointing:
            x = checkpoint(block, x, use_reentrant=False, **arguments)
        else:
            x = block(x, **arguments)
        if number in numbers:
            behind[number] = x[:, prefix:]
    # Where timm norms after the pooling, the first is the identity, and each token goes through the second.
    x = network.fc_norm(network.norm(x))
    return Tokens(x[:, :prefix], x[:, prefix:], (rows, columns), tuple(behind[number] for number in numbers))


def read_feature_map(
    network: Any,
    x: Tensor,
    *,
    keep: Tensor | None = None,
    mask: Tensor | None = None,
    mask_token: Tensor | None = None,
    layers: Sequence[int] = (),
) -> Tokens:
    """Take the last feature map of another network of timm for its patch tokens, and its stages for layers.

    A norm that stands behind the pooling (ConvNeXt) is applied to each token, as DINOv3 does for its own ConvNeXt
    (Siméoni et al., 2025, arXiv:2508.10104, the authors' code).

    Arguments, result and errors are those of `ssl_registry.nn.tokens`.
    """
    if keep is None and mask is not None and is_staged(network):
        final, maps = _masked_stages(network, x, mask, mask_token)
    else:
        refuse_hiding(network, keep, mask)
        final, maps = network.forward_intermediates(x, indices=None if layers else 1)
    rows, columns = maps[-1].shape[-2:]
    if not isinstance(final, Tensor) or (final.ndim == 3 and final.shape[1] < rows * columns):
        raise BackboneError(
            f"{type(network).__name__} pools before its last layer, so it has no patch tokens; use a network with a "
            "feature map, such as vit_small_patch16_224 or resnet50"
        )
    if final.ndim == 4:
        if getattr(network, "output_fmt", "NCHW") == "NHWC":
            final = final.permute(0, 3, 1, 2)
        rows, columns = final.shape[-2:]  # may differ from the last stage's
        final = final.flatten(2).mT  # [B, N, D]
    prefix = final.shape[1] - rows * columns
    final = _normalized(network, final)
    numbers = layer_numbers(layers, len(maps))
    behind = tuple(maps[number].flatten(2).mT for number in numbers)
    return Tokens(final[:, :prefix], final[:, prefix:], (rows, columns), behind)


def is_staged(network: nn.Module) -> bool:
    """Whether a mask token can be put behind its stem: Swin and ConvNeXt of timm, whose stems cut patches apart."""
    from timm.layers import PatchEmbed
    from timm.models.convnext import ConvNeXt
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    computed = getattr(type(network), "forward_features", None)
    if computed is ConvNeXt.forward_features:
        first: Any = network.stem[0]  # type: ignore[index]  # a Sequential
        return isinstance(first, nn.Conv2d) and first.kernel_size == first.stride
    swins = (SwinTransformer.forward_features, SwinTransformerV2.forward_features)
    return computed in swins and isinstance(network.patch_embed, PatchEmbed)


def _masked_stages(network: Any, x: Tensor, mask: Tensor, mask_token: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Compute what ``forward_intermediates`` returns, with the mask token in place of what the stem gives.

    Source: SimMIM (Xie et al., 2021, arXiv:2111.09886, section 3.2), whose unit of masking is the stride of the last
    stage, 32 pixels.
    """
    swin = hasattr(network, "patch_embed")
    stem, stages = (network.patch_embed, network.layers) if swin else (network.stem, network.stages)
    stride = network.feature_info[-1]["reduction"]
    if any(side % stride for side in x.shape[-2:]):
        raise BackboneError(
            f"images of {x.shape[-2]} x {x.shape[-1]} pixels cannot be masked in {type(network).__name__}, whose last "
            f"stage has a stride of {stride}; give an image_size that is a multiple of it"
        )
    rows, columns = (side // stride for side in x.shape[-2:])
    x = stem(x) if swin else stem(x).permute(0, 2, 3, 1)  # [B, H, W, D]
    check_choice(None, mask, mask_token, batch=len(x), patches=rows * columns, dim=x.shape[-1])
    if mask_token is not None:
        unit = x.shape[1] // rows
        here = mask.view(-1, rows, columns).repeat_interleave(unit, 1).repeat_interleave(unit, 2)
        x = torch.where(here.unsqueeze(-1), mask_token.flatten().to(x.dtype), x)
    x = x if swin else x.permute(0, 3, 1, 2)
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x.permute(0, 3, 1, 2) if swin else x)
    return (network.norm if swin else network.norm_pre)(x), maps


def refuse_hiding(network: nn.Module, keep: Tensor | None, mask: Tensor | None) -> None:
    """Refuse to drop or mask patches in a network that computes neighbors together.

    Raises:
        BackboneError: if ``keep`` or ``mask`` is given.
    """
    if keep is not None or mask is not None:
        raise BackboneError(
            f"{type(network).__name__} cannot {'drop' if keep is not None else 'mask'} patches, because it computes "
            "neighboring positions together; use a vision transformer of timm with plain patches, such as "
            "vit_small_patch16_224, or a module of your own with a method `tokens`; a Swin or ConvNeXt takes mask"
        )


def _rope_by_block(network: Any, x: Tensor, rope: Tensor | None, keep: Tensor | None) -> list[Tensor | None]:
    """Return the rotary embeddings for each block, of the kept patches alone where some are dropped."""
    from timm.layers import apply_keep_indices_nlc

    if rope is None:
        return [None] * len(network.blocks)
    by_block = getattr(network, "rope_mixed", False)  # learned for each block: [depth, heads, N, dim], else [N, dim]
    if keep is not None:
        rope = apply_keep_indices_nlc(x, rope, keep)
        # From [B, depth, heads, K, dim], or [B, K, dim] to [B, 1, K, dim] for all heads.
        rope = rope.transpose(0, 1) if by_block else rope.unsqueeze(1)
    return list(rope.unbind()) if by_block else [rope] * len(network.blocks)


def _normalized(network: Any, x: Tensor) -> Tensor:
    """Apply the norm that timm has between pooling and classifier, if there is one, to each token of [B, N, D]."""
    from timm.layers import LayerNorm2d

    for norm in (getattr(network, "fc_norm", None), getattr(getattr(network, "head", None), "norm", None)):
        if isinstance(norm, nn.LayerNorm) and norm.normalized_shape == (x.shape[-1],):
            # LayerNorm2d takes [B, D, rows, columns].
            normed: Tensor = norm(x.mT.unsqueeze(-1)).squeeze(-1).mT if isinstance(norm, LayerNorm2d) else norm(x)
            return normed
    return x


def _check_can_hide(network: Any) -> None:
    """Refuse networks in which a dropped or masked patch would be seen all the same, or cannot be told."""
    from timm.layers import PatchEmbed

    if not isinstance(network.patch_embed, PatchEmbed):
        raise BackboneError(
            f"{type(network).__name__} embeds overlapping patches ({type(network.patch_embed).__name__}), so that a "
            "neighbor sees what keep or mask hides; use one with plain patches, such as vit_small_patch16_224"
        )
    if getattr(network.patch_drop, "prob", 0) and network.patch_drop.training:
        raise BackboneError(
            "the network drops patches at random by itself (patch_drop_rate), and does not tell which; build it "
            "without, or use neither keep nor mask"
        )


def check_choice(
    keep: Tensor | None, mask: Tensor | None, mask_token: Tensor | None, *, batch: int, patches: int, dim: int
) -> None:
    """Check shapes and types; values stay on the device."""
    if keep is not None and (
        keep.dtype != torch.int64 or keep.ndim != 2 or len(keep) != batch or not 0 < keep.shape[1] <= patches
    ):
        raise ValueError(
            f"keep has shape {tuple(keep.shape)} of {keep.dtype}; give the indices of the patches to keep, "
            f"[{batch}, 1 to {patches}] of int64"
        )
    if mask is None:
        return
    if mask.dtype != torch.bool or mask.shape != (batch, patches):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)} of {mask.dtype}; give [{batch}, {patches}] of bool, True where a "
            "patch is masked"
        )
    if mask_token is None or mask_token.numel() != dim:
        came = "none came" if mask_token is None else f"{tuple(mask_token.shape)} came"
        raise ValueError(f"mask needs a mask_token of shape [{dim}], {came}; make one with nn.MaskToken({dim})")


def layer_numbers(layers: Sequence[int], depth: int) -> list[int]:
    """Resolve negative numbers, as in a list."""
    if wrong := [number for number in layers if not -depth <= number < depth]:
        raise BackboneError(
            f"there is no layer {wrong[0]}; the network has layers 0 to {depth - 1}, or -1 from the end"
        )
    return [number % depth for number in layers]
