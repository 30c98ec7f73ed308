"""`MLP` and `bottleneck_mlp`: small multi-layer perceptrons on top of a backbone."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

__all__ = ["MLP", "bottleneck_mlp"]


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


def bottleneck_mlp(
    in_dim: int, hidden_dim: int, out_dim: int, *, num_layers: int = 3, batch_norm: bool = False
) -> nn.Sequential:
    """Return the projection in front of `Prototypes`: linear layers with GELU between them.

    Weights are drawn from a truncated normal distribution of standard deviation 0.02, biases start at 0, as in the
    authors' code of DINO (Caron et al., 2021, arXiv:2104.14294, appendix C), iBOT (Zhou et al., 2021, arXiv:2111.07832)
    and DINOv2 (Oquab et al., 2023, arXiv:2304.07193).

    Args:
        in_dim: width of the input, [batch, in_dim].
        hidden_dim: width between the layers.
        out_dim: width of the output, the bottleneck.
        num_layers: number of linear layers.
        batch_norm: normalise the hidden layers, for convolutional networks.

    Raises:
        ValueError: for a width or number of layers below 1.

    Example:
        >>> bottleneck_mlp(384, 2048, 256, num_layers=2)
        Sequential(
          (0): Linear(in_features=384, out_features=2048, bias=True)
          (1): GELU(approximate='none')
          (2): Linear(in_features=2048, out_features=256, bias=True)
        )
    """
    sizes = {"in_dim": in_dim, "hidden_dim": hidden_dim, "out_dim": out_dim, "num_layers": num_layers}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size} must be at least 1")
    layers, width = list[nn.Module](), in_dim
    for _ in range(num_layers - 1):
        norm = [nn.BatchNorm1d(hidden_dim)] if batch_norm else []
        layers += [nn.Linear(width, hidden_dim), *norm, nn.GELU()]
        width = hidden_dim
    layers.append(nn.Linear(width, out_dim))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
