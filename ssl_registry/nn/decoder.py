"""`TokenDecoder`: a light transformer from visible patches to the others, and the positions that it knows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_registry.nn.tokens import MaskToken

__all__ = ["TokenDecoder", "sine_cosine_positions"]


def sine_cosine_positions(grid: Sequence[int], dim: int, *, temperature: float = 10000.0) -> Tensor:
    """Return fixed positions: for each axis an equal share of ``dim``, half of it sines and half cosines.

    The frequencies fall from 1 towards 1 / ``temperature``. Rows come first, then columns.

    Source: Vaswani et al., 2017, arXiv:1706.03762, section 3.5; in two dimensions MoCo v3 (Chen et al., 2021,
    arXiv:2104.02057) and MAE (He et al., 2021, arXiv:2111.06377), where columns come first.

    Args:
        grid: positions along each axis, (rows, columns) or (steps,).
        dim: width; it must be divisible by twice the number of axes.
        temperature: see above.

    Returns:
        [N, dim] in float32, with N the product of ``grid``.

    Raises:
        ValueError: if ``dim`` is not divisible.

    Example:
        >>> sine_cosine_positions((2, 3), 8).shape
        torch.Size([6, 8])
    """
    if not grid or dim < 1 or dim % (2 * len(grid)):
        raise ValueError(f"dim={dim} must be divisible by {2 * len(grid)}: a sine and a cosine for each axis of {grid}")
    waves = dim // len(grid) // 2
    frequency = temperature ** -(torch.arange(waves, dtype=torch.float64) / waves)
    axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    angles = [axis.flatten().unsqueeze(1) * frequency for axis in axes]  # each [N, waves]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1).float()


class TokenDecoder(nn.Module):
    """Predict something for chosen patches from the tokens of others: MAE's decoder, I-JEPA's predictor.

    The tokens, mapped to ``dim``, and a mask token for each wanted patch go through a transformer together. To each
    its position is added: fixed sines and cosines. What comes out at the wanted patches is normalized and mapped to
    ``out_dim``.

    Source: MAE (He et al., 2021, arXiv:2111.06377, section 3 and appendix A.1), whose depth, width and initialization
    are the defaults, and I-JEPA (Assran et al., 2023, arXiv:2301.08243, section 3 and appendix A).

    Args:
        in_dim: width of the tokens that come.
        out_dim: width of the prediction: values of a patch for MAE, ``in_dim`` for I-JEPA.
        grid: positions along each axis, (rows, columns) or (steps,): ``token_grid`` of `build_heads`.
        dim: width inside; divisible by ``num_heads``, and by 4 (2 for signals).
        depth: number of transformer blocks.
        num_heads: attention heads of each.
        mlp_ratio: width of their MLPs, in ``dim``.

    Example:
        MAE, whose encoder saw a quarter of the patches:

        >>> from ssl_registry.nn import random_mask
        >>> decoder = TokenDecoder(192, 768, grid=(14, 14), dim=64, depth=1, num_heads=2)
        >>> choice = random_mask(2, (14, 14), 0.75)
        >>> seen = torch.zeros(2, 49, 192)
        >>> decoder(seen, choice.keep, choice.masked).shape
        torch.Size([2, 147, 768])

        I-JEPA, whose predictor is asked for each target by itself:

        >>> from ssl_registry.nn import multi_block_masks
        >>> predictor = TokenDecoder(192, 192, grid=(14, 14), dim=64, depth=1, num_heads=2)
        >>> context, targets = multi_block_masks(2, (14, 14))
        >>> seen = torch.zeros(2, 60, 192)
        >>> again = targets.shape[1]
        >>> predictor(
        ...     seen.repeat_interleave(again, 0), context.repeat_interleave(again, 0), targets.flatten(0, 1)
        ... ).shape
        torch.Size([8, 34, 192])
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        grid: Sequence[int],
        *,
        dim: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        self.grid = tuple(grid)
        self.embed = nn.Linear(in_dim, dim)
        self.mask_token = MaskToken(dim)
        self.positions: Tensor  # [N, dim]
        self.register_buffer("positions", sine_cosine_positions(grid, dim), persistent=False)
        self.blocks = nn.Sequential(*(Block(dim, num_heads, mlp_ratio=mlp_ratio, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, out_dim)
        self.apply(_init_linear)

    def forward(self, patches: Tensor, keep: Tensor | None, wanted: Tensor, *, prefix: Tensor | None = None) -> Tensor:
        """Predict the wanted patches.

        Args:
            patches: tokens of the visible patches, [batch, K, in_dim].
            keep: their indices, [batch, K] int64; None if they are all, in order.
            wanted: indices of the patches to predict, [batch, M] int64.
            prefix: tokens without a position, such as the class token, [batch, P, in_dim].

        Returns:
            [batch, M, out_dim], in the order of ``wanted``.
        """
        seen = self.embed(patches) + (self.positions if keep is None else self.positions[keep])
        asked = self.mask_token() + self.positions[wanted]
        parts = [seen, asked] if prefix is None else [self.embed(prefix), seen, asked]
        x = self.blocks(torch.cat(parts, dim=1))
        prediction: Tensor = self.head(self.norm(x[:, -wanted.shape[1] :]))
        return prediction


def _init_linear(module: nn.Module) -> None:
    """Initialize as MAE's authors do (appendix A.1: xavier_uniform)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
