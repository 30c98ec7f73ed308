"""`MLP`: the small multi-layer perceptron on top of a backbone."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

__all__ = ["MLP"]


class MLP(nn.Sequential):
    """Linear layers with batch normalisation and ReLU between them.

    ``num_layers`` linear layers; each but the last is followed by BatchNorm and ReLU. A linear layer in front
    of a BatchNorm has no bias, because the normalisation would subtract it again.

    Args:
        in_dim: width of the input, [batch, in_dim].
        hidden_dim: width between the layers.
        out_dim: width of the output, [batch, out_dim].
        num_layers: number of linear layers; with 1 there is no hidden layer.
        batch_norm: normalise the hidden layers.
        final_batch_norm: normalise the output too, as the projection head of SimCLR does.
        final_affine: let the BatchNorm of the output learn a scale and a shift; SimSiam's does not.
        final_bias: bias of the last linear layer; default: unless it is followed by a BatchNorm.

    Raises:
        ValueError: for a width or number of layers below 1.

    Example:
        >>> MLP(512, 1024, 128, batch_norm=False)
        MLP(
          (0): Linear(in_features=512, out_features=1024, bias=True)
          (1): ReLU(inplace=True)
          (2): Linear(in_features=1024, out_features=128, bias=True)
        )
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        out_dim: int,
        *,
        num_layers: int = 2,
        batch_norm: bool = True,
        final_batch_norm: bool = False,
        final_affine: bool = True,
        final_bias: bool | None = None,
    ) -> None:
        sizes = {"in_dim": in_dim, "hidden_dim": hidden_dim, "out_dim": out_dim, "num_layers": num_layers}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        layers: list[nn.Module] = []
        width = in_dim
        for _ in range(num_layers - 1):
            layers.append(nn.Linear(width, hidden_dim, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(hidden_dim))
            layers.append(nn.ReLU(inplace=True))
            width = hidden_dim
        if final_bias is None:
            final_bias = not final_batch_norm
        layers.append(nn.Linear(width, out_dim, bias=final_bias))
        if final_batch_norm:
            layers.append(nn.BatchNorm1d(out_dim, affine=final_affine))
        super().__init__(*layers)

    def __getitem__(self, index: Any) -> Any:
        # nn.Sequential builds a slice as type(self)(layers), which this constructor does not take.
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)
