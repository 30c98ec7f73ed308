"""Have features collapsed? Two measures that need neither labels nor a second pass over the data."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["effective_rank", "feature_spread"]

MIN_SUM = 1e-12  # of singular values, below which all features count as zero


def effective_rank(features: Tensor) -> Tensor:
    """Return how many directions features use: RankMe, the exponential of the entropy of the singular values.

    With the singular values s_i and p_i = s_i / sum_j s_j,

        rank = exp(-sum_i p_i log p_i)

    which is 1 where every row points the same way, and min(N, D) where all directions weigh the same.

    Source: Garrido et al., 2023, arXiv:2210.02885, equation 1 (who take 25,600 samples; fewer give less, and only
    figures of equal N compare).

    Args:
        features: [N, D].

    Returns:
        A scalar in float32 on the same device; 0 where all features are zero, NaN where one is not finite.

    Example:
        >>> round(float(effective_rank(torch.eye(4))), 2), round(float(effective_rank(torch.ones(4, 8))), 2)
        (4.0, 1.0)
    """
    # The full SVD's own precision: squaring (a Gram matrix) would drown every value below 3e-4 of the largest.
    features = features.detach().float()
    finite = features.isfinite().all()
    values = torch.linalg.svdvals(features.where(finite, 0))  # of NaN it would not converge
    share = values / values.sum().clamp_min(MIN_SUM)
    rank = torch.special.entr(share).sum().exp()
    return torch.where(values.sum() > MIN_SUM, rank, 0.0).where(finite, torch.nan)


def feature_spread(features: Tensor) -> Tensor:
    """Return the standard deviation of normalised features: 0 where all rows point the same way, 1 at most.

    The root mean square over the dimensions of the standard deviation over samples of z / |z|, times sqrt(D).
    Source: Chen and He, 2020, arXiv:2011.10566, section 4.1 (std of the l2-normalised output; sqrt(D) makes it 1 for
    directions drawn evenly).

    Args:
        features: [N, D].

    Returns:
        A scalar in float32 on the same device.

    Example:
        >>> float(feature_spread(torch.ones(8, 4))) < 1e-6, float(feature_spread(torch.tensor([[1.0], [-1.0]])))
        (True, 1.0)
    """
    z = torch.nn.functional.normalize(features.detach().float(), dim=1)
    return z.var(dim=0, correction=0).sum().clamp_min(0).sqrt()
