"""`neighborhood_loss`: neighbors are positive, all other windows unlabeled."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["neighborhood_loss"]


def neighborhood_loss(near: Tensor, other: Tensor, *, weight: float) -> Tensor:
    """Cross-entropy of telling neighbors from other windows, a share of which counts as neighbors too.

        loss = -E log D(near) - E [ (1 - w) log(1 - D(other)) + w log D(other) ],

    with D the probability of being neighbors. A window from elsewhere may well be alike, so it is no negative but
    unlabeled, and counts as positive with weight w (positive-unlabeled learning).

    Source: Tonekaboni et al., 2021, arXiv:2106.00750, equation 1.

    Args:
        near, other: what the discriminator says of pairs of neighbors and of others, before the sigmoid; of any shape.
        weight: w, from 0 to 1.

    Returns:
        A scalar in float32 (float64 for float64), also under autocast.

    Example:
        >>> neighborhood_loss(torch.zeros(3), torch.zeros(5), weight=0.05)  # two times log 2
        tensor(1.3863)
    """
    dtype = torch.promote_types(torch.promote_types(near.dtype, other.dtype), torch.float32)
    near, other = near.to(dtype), other.to(dtype)
    unlabeled = (1 - weight) * F.softplus(other) + weight * F.softplus(-other)  # -log(1 - D) and -log D
    return F.softplus(-near).mean() + unlabeled.mean()
