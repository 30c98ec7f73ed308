"""Small backbones for inputs that timm has no models for: signals and tables."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry.errors import BackboneError
from ssl_registry.nn.heads import MLP
from ssl_registry.nn.token_readers import Tokens, layer_numbers, refuse_hiding

__all__ = ["SignalEncoder", "TableEncoder"]


class SignalEncoder(nn.Module):
    """A convolutional encoder of multi-channel signals, flattened.

    A block for each entry of ``channels``: Conv1d without bias, BatchNorm, ReLU, MaxPool by two; dropout
    after the first. The defaults are LFR's encoder for human activity recognition and epilepsy.

    Source: Sui et al., 2024, arXiv:2310.07756, and the authors' code, after that of TS-TCC (Eldele et al.,
    2021, arXiv:2106.14112).

    Args:
        in_chans: channels of the signal.
        channels: output channels of each block.
        kernel_size: of every convolution; padded by half of it, so any length from 1 on can be encoded.
        dropout: probability after the first block.
        max_steps: features stand for so many steps in time at most: of longer signals, as many neighboring steps as
            needed are averaged. Published lengths, 128 and 178, have 18 and 24. None flattens whatever there is, and
            heads grow with the square of a signal's length.
        length: samples in time of the signals to come, only to know ``out_features`` beforehand; signals of
            another length are encoded all the same.

    Attributes:
        out_features: width of the output for signals of ``length``, or None if that was not given.

    Input and output: [batch, in_chans, time] to [batch, channels[-1] * steps]; `features_at` tells the width. Tokens
    are those before the averaging.

    Raises:
        BackboneError: for arguments out of range, or an input of another shape.

    Example:
        >>> import torch
        >>> encoder = SignalEncoder(9, length=128)
        >>> encoder.out_features, encoder(torch.zeros(4, 9, 128)).shape
        (2304, torch.Size([4, 2304]))
    """

    def __init__(
        self,
        in_chans: int,
        *,
        channels: Sequence[int] = (32, 64, 128),
        kernel_size: int = 8,
        dropout: float = 0.35,
        max_steps: int | None = 32,
        length: int | None = None,
    ) -> None:
        super().__init__()
        if not channels or min(in_chans, kernel_size, *channels, 1 if max_steps is None else max_steps) < 1:
            raise BackboneError(
                f"in_chans={in_chans}, channels={tuple(channels)}, kernel_size={kernel_size}, max_steps={max_steps} "
                "will not do; each number must be at least 1, and there must be one block or more"
            )
        self.in_chans = in_chans
        self.channels = tuple(channels)
        self.kernel_size = kernel_size
        self.max_steps = max_steps
        layers: list[nn.Module] = []
        width = in_chans
        for block, out in enumerate(channels):
            layers += [
                nn.Conv1d(width, out, kernel_size, padding=kernel_size // 2, bias=False),
                nn.BatchNorm1d(out),
                nn.ReLU(inplace=True),
                nn.MaxPool1d(2, padding=1),
            ]
            if block == 0:
                layers.append(nn.Dropout(dropout))
            width = out
        self.blocks = nn.Sequential(*layers)
        self.out_features = None if length is None else self.features_at(length)

    def features_at(self, length: int) -> int:
        """Return the width of the output for signals of ``length`` samples in time.

        >>> SignalEncoder(1).features_at(178)
        3072
        """
        if length < 1:
            raise BackboneError(f"length={length} must be at least 1")
        for _ in self.channels:
            convolved = length + 2 * (self.kernel_size // 2) - self.kernel_size + 1
            length = convolved // 2 + 1
        return self.channels[-1] * -(-length // self._averaged(length))

    def _averaged(self, steps: int) -> int:
        """Return how many neighboring steps become one."""
        return 1 if self.max_steps is None else -(-steps // self.max_steps)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, in_chans, time] to [batch, features]."""
        out = self._behind_blocks(x)[-1]
        if (averaged := self._averaged(out.shape[-1])) > 1:
            out = F.avg_pool1d(out, averaged, ceil_mode=True)
        return out.flatten(1)

    def tokens(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        layers: Sequence[int] = (),
    ) -> Tokens:
        """Return the steps in time as tokens; see `ssl_registry.nn.tokens`, which calls it.

        >>> import torch
        >>> out = SignalEncoder(9).tokens(torch.zeros(4, 9, 128))
        >>> out.patches.shape, out.grid
        (torch.Size([4, 18, 128]), (18,))

        Raises:
            BackboneError: for ``keep`` and ``mask``, or a layer that there is not.
        """
        refuse_hiding(self, keep, mask)
        numbers = layer_numbers(layers, len(self.channels))
        behind = [out.mT for out in self._behind_blocks(x)]  # each [batch, steps, channels]
        steps = behind[-1]
        return Tokens(steps[:, :0], steps, (steps.shape[1],), tuple(behind[number] for number in numbers))

    def _behind_blocks(self, x: Tensor) -> list[Tensor]:
        """Return what each block gives, [batch, channels, steps]."""
        if x.ndim != 3 or x.shape[1] != self.in_chans or x.shape[2] < 1:
            raise BackboneError(
                f"the signal encoder takes [batch, {self.in_chans}, time] with time of at least 1, "
                f"and got {list(x.shape)}; time is the last axis"
            )
        found = []
        for layer in self.blocks:
            x = layer(x)
            if isinstance(layer, nn.MaxPool1d):
                found.append(x)
        return found


class TableEncoder(nn.Module):
    """A multi-layer perceptron for rows of a table, with ReLU between its layers.

    The defaults, four layers of 256, are the encoder that LFR uses on tables.

    Source: Sui et al., 2024, arXiv:2310.07756, and the authors' code.

    Args:
        in_features: columns of the table.
        hidden_dim: width between the layers.
        out_features: width of the output.
        num_layers: number of linear layers.
        batch_norm: normalise the hidden layers.

    Input and output: [batch, in_features] to [batch, out_features].

    Raises:
        BackboneError: for a size below 1, or an input of another shape.

    Example:
        >>> import torch
        >>> TableEncoder(14)(torch.zeros(2, 14)).shape
        torch.Size([2, 256])
    """

    def __init__(
        self,
        in_features: int,
        *,
        hidden_dim: int = 256,
        out_features: int = 256,
        num_layers: int = 4,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        try:
            self.mlp = MLP(in_features, hidden_dim, out_features, num_layers=num_layers, batch_norm=batch_norm)
        except ValueError as error:
            raise BackboneError(f"the table encoder cannot be built: {error}") from None
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, in_features] to [batch, out_features]."""
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise BackboneError(f"the table encoder takes [batch, {self.in_features}], and got {list(x.shape)}")
        return self.mlp(x)  # type: ignore[no-any-return]
