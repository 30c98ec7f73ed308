"""What DINO has besides the usual heads: the prototypes and the centre."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry.nn import StepCollector, world_size


class Prototypes(nn.Module):
    """The last layer: cosine of each input with each prototype.

    A weight-normalised linear layer whose gain is fixed at 1, behind an L2 normalisation of its input (appendix C).

    Args:
        in_dim: width of the input.
        count: number of prototypes.
    """

    def __init__(self, in_dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(count, in_dim), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, in_dim] to [batch, count]."""
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class Centre(nn.Module):
    """The moving average of the teacher's outputs (equation 4); a buffer, moved once an optimizer step.

    Args:
        dim: width of the outputs.
        momentum: of the average.
    """

    value: Tensor

    def __init__(self, dim: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(1, dim))
        self.outputs = StepCollector()

    def collect(self, outputs: Tensor) -> None:
        """Remember the teacher's outputs [batch, dim] for the end of the step; only their mean is kept."""
        self.outputs.collect(outputs.mean(dim=0, keepdim=True))

    @torch.no_grad()
    def move(self) -> None:
        """Move towards the mean of this step's outputs, of all micro-batches and ranks."""
        means = self.outputs.take()
        if means is None:
            return
        mean = means.mean(dim=0, keepdim=True)
        if world_size() > 1:
            torch.distributed.all_reduce(mean)
            mean /= world_size()
        self.value.lerp_(mean.to(self.value.dtype), 1 - self.momentum)
