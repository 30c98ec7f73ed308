"""Convolutional encoders of signals whose width does not depend on the length: TS2Vec's, and a residual network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry.errors import BackboneError
from ssl_registry.nn.token_readers import Tokens, check_choice, layer_numbers, refuse_hiding

__all__ = ["DilatedEncoder", "ResNet1d"]


class DilatedEncoder(nn.Module):
    """Dilated convolutions over a signal: a feature vector for each moment, and their maximum for the whole.

    A linear layer maps each moment to ``hidden_dim``; blocks of two convolutions with a residual connection follow, the
    dilation twice as large in each, so that 10 blocks of kernel 3 see 2,049 moments to either side.

    Source: TS2Vec (Yue et al., 2021, arXiv:2106.10466, section 3 and appendix), whose sizes are the defaults.

    Args:
        in_chans: channels of the signal.
        hidden_dim: width inside.
        out_features: width of a moment's features, and of the output.
        depth: blocks of ``hidden_dim``; one to ``out_features`` follows.
        kernel_size: of the convolutions, odd.
        dropout: behind the last block.

    Input and output: [batch, in_chans, time] to [batch, out_features]; tokens [batch, time, out_features]. Masked
    moments are replaced behind the linear layer.

    Raises:
        BackboneError: for sizes out of range, or an input of another shape.

    Example:
        >>> encoder = DilatedEncoder(9)
        >>> encoder(torch.zeros(2, 9, 128)).shape, encoder.tokens(torch.zeros(2, 9, 50)).patches.shape
        (torch.Size([2, 320]), torch.Size([2, 50, 320]))
    """

    def __init__(
        self,
        in_chans: int,
        *,
        hidden_dim: int = 64,
        out_features: int = 320,
        depth: int = 10,
        kernel_size: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if min(in_chans, hidden_dim, out_features, depth, kernel_size) < 1 or kernel_size % 2 == 0:
            raise BackboneError(
                f"in_chans={in_chans}, hidden_dim={hidden_dim}, out_features={out_features}, depth={depth} and "
                f"kernel_size={kernel_size} must be at least 1, and kernel_size odd"
            )
        self.in_chans, self.embedding_dim, self.out_features = in_chans, hidden_dim, out_features
        self.input_layer = nn.Linear(in_chans, hidden_dim)
        widths = [hidden_dim] * (depth + 1) + [out_features]
        self.blocks = nn.ModuleList(
            _DilatedBlock(before, after, kernel_size, dilation=2**number, project=number == depth)
            for number, (before, after) in enumerate(pairwise(widths))
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maximum over time, [batch, out_features]."""
        return self.tokens(x).patches.amax(1)

    def tokens(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        layers: Sequence[int] = (),
    ) -> Tokens:
        """Return the moments as tokens; see `ssl_registry.nn.tokens`, which calls it.

        Raises:
            BackboneError: for ``keep``, a layer that there is not, or an input of another shape.
            ValueError: if ``mask`` or ``mask_token`` has another shape or type.
        """
        refuse_hiding(self, keep, None)
        _check_signal(x, self.in_chans, "the dilated encoder")
        numbers = layer_numbers(layers, len(self.blocks))
        hidden = self.input_layer(x.mT)  # [B, T, hidden]
        check_choice(None, mask, mask_token, batch=len(x), patches=x.shape[2], dim=self.embedding_dim)
        if mask is not None and mask_token is not None:
            hidden = torch.where(mask.unsqueeze(-1), mask_token.flatten().to(hidden.dtype), hidden)
        hidden = hidden.mT
        behind: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks):
            hidden = block(hidden)
            if number in numbers:
                behind[number] = hidden.mT
        steps = self.dropout(hidden).mT  # [B, T, out]
        return Tokens(steps[:, :0], steps, (steps.shape[1],), tuple(behind[number] for number in numbers))


class _DilatedBlock(nn.Module):
    def __init__(self, before: int, after: int, kernel_size: int, *, dilation: int, project: bool) -> None:
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        self.first = nn.Conv1d(before, after, kernel_size, padding=padding, dilation=dilation)
        self.second = nn.Conv1d(after, after, kernel_size, padding=padding, dilation=dilation)
        self.shortcut = nn.Conv1d(before, after, 1) if project or before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(F.gelu(self.first(F.gelu(x)))) + self.shortcut(x)
        return out


class ResNet1d(nn.Module):
    """A residual network for signals: three stages of three convolutions, and the mean over time.

    Source: Wang et al., 2016, arXiv:1611.06455, section 2.3, whose kernels, 8, 5 and 3, and widths are the defaults.

    Args:
        in_chans: channels of the signal.
        channels: of each stage.
        kernel_sizes: of the convolutions of a stage.

    Input and output: [batch, in_chans, time] to [batch, channels[-1]]; tokens [batch, time, channels[-1]].

    Raises:
        BackboneError: for sizes out of range, or an input of another shape.

    Example:
        >>> encoder = ResNet1d(9)
        >>> encoder(torch.zeros(2, 9, 128)).shape, encoder.tokens(torch.zeros(2, 9, 50)).patches.shape
        (torch.Size([2, 128]), torch.Size([2, 50, 128]))
    """

    def __init__(
        self, in_chans: int, *, channels: Sequence[int] = (64, 128, 128), kernel_sizes: Sequence[int] = (8, 5, 3)
    ) -> None:
        super().__init__()
        if not channels or not kernel_sizes or min(in_chans, *channels, *kernel_sizes) < 1:
            raise BackboneError(
                f"in_chans={in_chans}, channels={tuple(channels)} and kernel_sizes={tuple(kernel_sizes)} must be at "
                "least 1, with one stage or more"
            )
        self.in_chans, self.out_features = in_chans, channels[-1]
        widths = [in_chans, *channels]
        self.stages = nn.ModuleList(_ResidualStage(before, after, kernel_sizes) for before, after in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean over time, [batch, channels[-1]]."""
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
        """Return the moments as tokens; see `ssl_registry.nn.tokens`, which calls it.

        Raises:
            BackboneError: for ``keep`` and ``mask``, a layer that there is not, or an input of another shape.
        """
        refuse_hiding(self, keep, mask)
        _check_signal(x, self.in_chans, "the residual network")
        numbers = layer_numbers(layers, len(self.stages))
        behind: dict[int, Tensor] = {}
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in numbers:
                behind[number] = x.mT
        steps = x.mT
        return Tokens(steps[:, :0], steps, (steps.shape[1],), tuple(behind[number] for number in numbers))


class _ResidualStage(nn.Module):
    def __init__(self, before: int, after: int, kernel_sizes: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = before
        for number, size in enumerate(kernel_sizes):
            # "same" padding, also for even kernels, of which torch would warn.
            layers.append(nn.ConstantPad1d(((size - 1) // 2, size // 2), 0.0))
            layers += [nn.Conv1d(width, after, size, bias=False), nn.BatchNorm1d(after)]
            if number + 1 < len(kernel_sizes):
                layers.append(nn.ReLU(inplace=True))
            width = after
        self.body = nn.Sequential(*layers)
        self.shortcut = (
            nn.Sequential(nn.Conv1d(before, after, 1, bias=False), nn.BatchNorm1d(after))
            if before != after
            else nn.BatchNorm1d(after)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def _check_signal(x: Tensor, in_chans: int, name: str) -> None:
    if x.ndim != 3 or x.shape[1] != in_chans or x.shape[2] < 1:
        raise BackboneError(
            f"{name} takes [batch, {in_chans}, time] with time of at least 1, and got {list(x.shape)}; time is the "
            "last axis"
        )
