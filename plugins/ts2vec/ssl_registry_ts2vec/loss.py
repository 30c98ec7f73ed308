"""`hierarchical_contrast`: TS2Vec's loss over samples and moments, at every scale of time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn import nt_xent

__all__ = ["hierarchical_contrast"]


def hierarchical_contrast(a: Tensor, b: Tensor, *, alpha: float = 0.5) -> Tensor:
    """Contrast the moments that two views share, then their maxima over two moments, over four, until one is left.

    Of each scale it is ``alpha`` times the loss over samples (a moment finds its partner among those of all samples of
    all ranks at the same moment, equation 2) and ``1 - alpha`` times the loss over time (among all moments of its own
    sample, equation 1), products as they are, without temperature; the mean over the scales (algorithm 1). At the last
    scale a sample has one moment, and the loss over time is 0.

    Source: TS2Vec (Yue et al., 2021), arXiv:2106.10466, section 3.3; its equation 3 has both losses with weight 1,
    the authors' code with 1/2.

    Args:
        a, b: [batch, moments, dim], the i-th moments are the same one.
        alpha: weight of the loss over samples, from 0 to 1.

    Returns:
        A scalar in float32 (float64 for float64).

    Example:
        >>> import torch
        >>> hierarchical_contrast(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4))  # neither another sample nor moment
        tensor(0.)
    """
    scales = []
    while True:
        over_samples = nt_xent(a.transpose(0, 1), b.transpose(0, 1), normalize=False)  # a group for each moment
        over_time = nt_xent(a, b, normalize=False, over_ranks=False)  # a group for each sample
        scales.append(alpha * over_samples + (1 - alpha) * over_time)
        if a.shape[1] == 1:
            return torch.stack(scales).mean()
        a, b = (F.max_pool1d(view.mT, 2).mT for view in (a, b))  # an odd last moment is left out
