"""`Center`: the running mean that keeps a teacher's outputs from agreeing on one prototype."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_registry.nn.collect import StepCollector
from ssl_registry.nn.gather import all_sum

__all__ = ["Center"]


class Center(nn.Module):
    """Subtract the moving average of a teacher's outputs; it moves once an optimizer step.

        center <- momentum * center + (1 - momentum) * mean over the step's outputs, of all micro-batches and ranks.

    Source: Caron et al., 2021, arXiv:2104.14294 (DINO), section 3.1, equation 4; Zhou et al., 2022, arXiv:2111.07832
    (iBOT) has one for class tokens and one for patch tokens. In `compute_loss` call the module, then `collect`; in
    `on_step_end` call `update`. The center is a buffer.

    Args:
        dim: width of the outputs.
        momentum: from 0 (the last step's mean alone) to 1 (never moves).

    Raises:
        ValueError: if ``dim`` is below 1 or ``momentum`` is out of range.

    Example:
        >>> center = Center(2, momentum=0.5)
        >>> outputs = torch.tensor([[4.0, 0.0], [0.0, 2.0]])
        >>> center.collect(outputs)
        >>> center.update()
        >>> center(outputs)
        tensor([[ 3.0000, -0.5000],
                [-1.0000,  1.5000]])
    """

    value: Tensor  # [dim]

    def __init__(self, dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim={dim} must be at least 1")
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"momentum={momentum} must lie between 0 and 1; DINO uses 0.9")
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(dim))
        self.collector = StepCollector()

    def forward(self, outputs: Tensor) -> Tensor:
        """Subtract the center from outputs [..., dim]."""
        return outputs - self.value

    def collect(self, outputs: Tensor) -> None:
        """Remember the mean of outputs [..., dim] for `update`, if this module is in training mode."""
        rows = outputs.detach().flatten(0, -2)  # [samples, dim]
        # Sum and count, so that micro-batches and ranks of different sizes are weighted by their samples.
        total = rows.sum(0, dtype=self.value.dtype)
        self.collector.collect(torch.cat([total, total.new_full((1,), len(rows))]).unsqueeze(0))

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the mean of what all ranks have collected in this optimizer step."""
        totals = self.collector.take()
        if totals is None:
            return
        total = all_sum(totals.sum(0))  # [dim + 1]
        count = total[-1]
        # A step without outputs, of masked patches where nothing was masked, leaves the center where it is.
        weight = (1 - self.momentum) * (count > 0).to(total.dtype)
        self.value.lerp_(total[:-1] / count.clamp(min=1), weight)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"dim={len(self.value)}, momentum={self.momentum}"
