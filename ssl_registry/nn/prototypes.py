"""`Prototypes`: the last layer of methods that compare samples by clusters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Prototypes"]


class Prototypes(nn.Module):
    """A linear layer on the unit sphere: the cosine of each input with each prototype.

    Two ways to keep the prototypes at length 1:

    - As in SwAV (Caron et al., 2020, arXiv:2006.09882, section 3.1, and the authors' code) the weights themselves have
      length 1. An optimizer step changes their length, so call `normalize` in `on_step_end`. It works outside of
      autograd: the gradient is that of a plain linear layer.
    - With ``weight_norm``, as in the last layer of DINO (Caron et al., 2021, arXiv:2104.14294, appendix C), the layer
      divides by the weights' length each time, and the gradient goes through the division. It is a weight-normalised
      layer whose gain is fixed at 1. `normalize` is not needed.

    Weights begin with random directions and length 1. Computed in float32, also under autocast: what is divided by a
    temperature of 0.05 must be finer than half precision.

    Args:
        dim: width of the input.
        num_prototypes: width of the output.
        weight_norm: the second way.

    Raises:
        ValueError: if ``dim`` or ``num_prototypes`` is below 1.

    Example:
        >>> prototypes = Prototypes(3, 5)
        >>> prototypes(torch.randn(2, 3)).shape, bool(prototypes(prototypes.weight).diagonal().allclose(torch.ones(5)))
        (torch.Size([2, 5]), True)
    """

    def __init__(self, dim: int, num_prototypes: int, *, weight_norm: bool = False) -> None:
        super().__init__()
        for name, size in {"dim": dim, "num_prototypes": num_prototypes}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.weight_norm = weight_norm
        self.weight = nn.Parameter(torch.empty(num_prototypes, dim))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw directions uniformly on the unit sphere."""
        self.weight.normal_()
        self.normalize()

    @torch.no_grad()
    def normalize(self) -> None:
        """Bring each prototype back to length 1, in place; sharded weights (FSDP2) too, without communication."""
        self.weight.div_(torch.linalg.vector_norm(self.weight, dim=1, keepdim=True).clamp_min(1e-12))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, dim], of any length, to cosines [batch, num_prototypes]; in float32 (float64 for float64)."""
        dtype = torch.promote_types(torch.promote_types(x.dtype, self.weight.dtype), torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight.to(dtype)
            if self.weight_norm:
                weight = F.normalize(weight, dim=1)
            return F.linear(F.normalize(x.to(dtype), dim=-1), weight)

    def extra_repr(self) -> str:
        """Show the arguments."""
        count, dim = self.weight.shape
        return f"dim={dim}, num_prototypes={count}, weight_norm={self.weight_norm}"
