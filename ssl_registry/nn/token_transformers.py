"""Transformers over the patches of a signal and the features of a table: encoders whose tokens can be hidden."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_registry.errors import BackboneError
from ssl_registry.nn.decoder import sine_cosine_positions
from ssl_registry.nn.token_readers import Tokens, check_choice, layer_numbers

__all__ = ["SignalTransformer", "TableTransformer"]


class _TokenTransformer(nn.Module, ABC):
    """Blocks of timm's vision transformer over tokens that a subclass embeds, a norm, and the mean of the tokens.

    Args:
        dim: width of the tokens, and of the output.
        depth: number of blocks.
        num_heads: attention heads of each; they divide ``dim``.
        mlp_ratio: width of their MLPs, in ``dim``.
        dropout: of attention and MLPs.
        drop_path: stochastic depth of the last block; it rises along a straight line from 0.
    """

    def __init__(
        self, dim: int, depth: int, num_heads: int, *, mlp_ratio: float, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        if min(dim, depth, num_heads) < 1 or dim % num_heads:
            raise BackboneError(
                f"dim={dim}, depth={depth} and num_heads={num_heads} must be at least 1, and dim divisible by num_heads"
            )
        from timm.models.vision_transformer import Block

        self.out_features = self.embed_dim = dim
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.ModuleList(
            Block(
                dim, num_heads, mlp_ratio=mlp_ratio, qkv_bias=True, proj_drop=dropout, attn_drop=dropout, drop_path=rate
            )
            for rate in rates
        )
        self.norm = nn.LayerNorm(dim)

    @abstractmethod
    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens without their positions, [batch, N, dim], and the positions, [N, dim]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of the tokens, [batch, dim]."""
        return self.tokens(x).patches.mean(1)

    def tokens(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        layers: Sequence[int] = (),
    ) -> Tokens:
        """Return the tokens; see `ssl_registry.nn.tokens`, which calls it.

        Raises:
            BackboneError: for a layer that there is not, or an input of another shape.
            ValueError: if ``keep``, ``mask`` or ``mask_token`` has another shape or type.
        """
        numbers = layer_numbers(layers, len(self.blocks))
        content, positions = self.embed(x)
        check_choice(keep, mask, mask_token, batch=len(x), patches=content.shape[1], dim=self.embed_dim)
        if mask is not None and mask_token is not None:
            content = torch.where(mask.unsqueeze(-1), mask_token.flatten().to(content.dtype), content)
        grid = (content.shape[1],)
        hidden = content + positions
        if keep is not None:
            hidden = hidden.gather(1, keep.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))  # [B, K, D]
        behind: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks):
            hidden = block(hidden)
            if number in numbers:
                behind[number] = hidden
        hidden = self.norm(hidden)
        return Tokens(hidden[:, :0], hidden, grid, tuple(behind[number] for number in numbers))


class SignalTransformer(_TokenTransformer):
    """A vision transformer for signals: its patches are pieces of time, with all channels.

    Positions are sines and cosines, so weights and width are the same for every length.

    Source: Dosovitskiy et al., 2020, arXiv:2010.11929, with one axis; patches of time as in PatchTST (Nie et al., 2022,
    arXiv:2211.14730), which has a token for each channel.

    Args:
        in_chans: channels of the signal.
        patch_size: moments of a patch; it must divide the signal's length.
        dim, depth, num_heads, mlp_ratio, dropout, drop_path: of the transformer.

    Input and output: [batch, in_chans, time] to [batch, dim]; tokens [batch, time / patch_size, dim].

    Raises:
        BackboneError: for sizes that do not fit together, or an input of another shape.

    Example:
        >>> encoder = SignalTransformer(9, patch_size=8)
        >>> encoder(torch.zeros(2, 9, 128)).shape, encoder.tokens(torch.zeros(2, 9, 128)).grid
        (torch.Size([2, 128]), (16,))
    """

    def __init__(
        self,
        in_chans: int,
        *,
        patch_size: int = 8,
        dim: int = 128,
        depth: int = 4,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(dim, depth, num_heads, mlp_ratio=mlp_ratio, dropout=dropout, drop_path=drop_path)
        if min(in_chans, patch_size) < 1:
            raise BackboneError(f"in_chans={in_chans} and patch_size={patch_size} must be at least 1")
        self.in_chans, self.patch_size = in_chans, patch_size
        self.patch_embed = nn.Conv1d(in_chans, dim, patch_size, stride=patch_size)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedded patches and their positions."""
        if x.ndim != 3 or x.shape[1] != self.in_chans or x.shape[2] < 1 or x.shape[2] % self.patch_size:
            raise BackboneError(
                f"the signal transformer takes [batch, {self.in_chans}, time] with time a multiple of its "
                f"patch_size={self.patch_size}, and got {list(x.shape)}; give another patch_size, or cut the signals"
            )
        content = self.patch_embed(x).mT  # [B, N, D]
        # As many sines as cosines, but for the last cosine of an odd width.
        dim = self.embed_dim
        positions = sine_cosine_positions((content.shape[1],), dim + dim % 2)[:, :dim]
        return content, positions.to(content.device, content.dtype, non_blocking=True)


class TableTransformer(_TokenTransformer):
    """A transformer whose tokens are the features of a table's row.

    A feature becomes a vector by a weight and a bias of its own; the bias stays where the value is masked, and tells
    which feature it is. The rows' output is the mean of the tokens, where the paper has a class token.

    Source: FT-Transformer (Gorishniy et al., 2021, arXiv:2106.11959, section 3.3), whose depth, width and heads are the
    defaults.

    Args:
        in_features: columns of the table.
        dim, depth, num_heads, mlp_ratio, dropout, drop_path: of the transformer.

    Input and output: [batch, in_features] to [batch, dim]; tokens [batch, in_features, dim].

    Raises:
        BackboneError: for sizes that do not fit together, or an input of another shape.

    Example:
        >>> encoder = TableTransformer(14)
        >>> encoder(torch.zeros(2, 14)).shape, encoder.tokens(torch.zeros(2, 14)).grid
        (torch.Size([2, 192]), (14,))
    """

    def __init__(
        self,
        in_features: int,
        *,
        dim: int = 192,
        depth: int = 3,
        num_heads: int = 8,
        mlp_ratio: float = 4 / 3,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(dim, depth, num_heads, mlp_ratio=mlp_ratio, dropout=dropout, drop_path=drop_path)
        if in_features < 1:
            raise BackboneError(f"in_features={in_features} must be at least 1")
        self.in_features = in_features
        bound = dim**-0.5  # the authors' initialization
        self.feature_weight = nn.Parameter(torch.empty(in_features, dim).uniform_(-bound, bound))
        self.feature_embed = nn.Parameter(torch.empty(in_features, dim).uniform_(-bound, bound))

    def no_weight_decay(self) -> set[str]:
        """Return the parameters that weight decay leaves alone, as the authors' code does."""
        return {"feature_weight", "feature_embed"}

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return each feature's value along its own direction, and what tells the features apart."""
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise BackboneError(f"the table transformer takes [batch, {self.in_features}], and got {list(x.shape)}")
        return x.unsqueeze(-1) * self.feature_weight, self.feature_embed
