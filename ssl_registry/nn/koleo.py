"""`koleo_loss`: spread features evenly over the sphere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["koleo_loss"]


def koleo_loss(x: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Compute the KoLeo regularizer: minus the mean logarithm of the distance to the nearest other sample.

    With the unit vectors x_i of a batch,

        loss = -(1/n) * sum_i log( min_{j != i} |x_i - x_j| ).

    Sources: Sablayrolles et al., 2019, arXiv:1806.03198, section 3.1; Oquab et al., 2023, arXiv:2304.07193 (DINOv2),
    section 4, on the class tokens of a view. As in DINOv2's code neighbours are sought among the samples of this
    rank; give `gather` of ``x`` to seek them on all. The neighbour is chosen by cosine, and the gradient flows into
    both.

    Args:
        x: [batch, dim], of any length, at least two samples.
        eps: distances well below it count as it, so that equal samples give a finite loss, and no gradient.

    Returns:
        A scalar in float32 (float64 for float64), also for half-precision inputs and under autocast.

    Raises:
        ValueError: if ``x`` is not [batch, dim] with two samples or more.

    Example:
        >>> koleo_loss(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))  # -log(sqrt(2))
        tensor(-0.3466)
    """
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"features have shape {list(x.shape)}; they must be [batch, dim] with two samples or more")
    with torch.autocast(x.device.type, enabled=False):
        x = F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1)
        with torch.no_grad():
            nearest = (x @ x.T).fill_diagonal_(-torch.inf).argmax(1)  # [batch]
        squared = (x - x.index_select(0, nearest)).square().sum(1)
        # Of the square: the root has no gradient at 0.
        return -0.5 * (squared + eps**2).log().mean()
