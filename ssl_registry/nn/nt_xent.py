"""`nt_xent`: each vector of two views finds its partner among all others, in groups that are compared apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn.gather import gather, rank

__all__ = ["nt_xent"]


def nt_xent(
    a: Tensor, b: Tensor, *, temperature: float = 1.0, normalize: bool = True, over_ranks: bool = True
) -> Tensor:
    """Average over the 2N vectors of two views the cross-entropy of finding the partner among the 2N - 1 others.

        l(a_i) = -log( exp(<a_i, b_i> / T) / (sum_k exp(<a_i, b_k> / T) + sum_{k != i} exp(<a_i, a_k> / T)) ),

    and the same with a and b exchanged. Axes in front of the last two are groups: a vector meets none of another group.

    Sources: NT-Xent, Chen et al., 2020, arXiv:2002.05709, equation 1. Without normalization, at temperature 1, it is
    the loss of TS2Vec (Yue et al., 2021, arXiv:2106.10466): with a sample's moments as the vectors of a group its
    equation 1, with a moment's samples equation 2. All similarities are held at once; for large batches without groups
    see `NTXentLoss` of ssl-registry-simclr.

    Args:
        a, b: [..., N, dim], the i-th vectors belong together.
        temperature: T, above 0.
        normalize: take the vectors at length 1.
        over_ranks: among the vectors of all ranks, which must hold equally many; otherwise of this one.

    Returns:
        A scalar in float32 (float64 for float64), also under autocast; over this rank's vectors. 0 for N = 1.

    Raises:
        ValueError: if shapes do not fit, or ``temperature`` is not above 0.

    Example:
        >>> nt_xent(torch.eye(2), torch.eye(2))  # log(e + 2) - 1
        tensor(0.5514)
        >>> nt_xent(torch.ones(7, 1, 4), torch.ones(7, 1, 4))  # seven groups of nothing but partners
        tensor(0.)
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0")
    if a.shape != b.shape or a.ndim < 2 or not a.numel():
        raise ValueError(f"a {list(a.shape)} and b {list(b.shape)} must be the same [..., number, dim], and not empty")
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    with torch.autocast(a.device.type, enabled=False):
        both = [view.to(dtype) for view in (a, b)]
        if normalize:
            both = [F.normalize(view, dim=-1) for view in both]
        everyone = [gather(view.movedim(-2, 0)).movedim(0, -2) for view in both] if over_ranks else both
        number, total = a.shape[-2], everyone[0].shape[-2]
        logits = (torch.cat(both, -2) / temperature) @ torch.cat(everyone, -2).mT  # [..., 2 N, 2 N of all ranks]
        own = torch.arange(number, device=a.device) + (rank() * number if over_ranks else 0)
        itself, partner = torch.cat([own, own + total]), torch.cat([own + total, own])  # columns of each row
        meets_itself = itself[:, None] == torch.arange(2 * total, device=a.device)
        logits = logits.masked_fill(meets_itself, -torch.inf).flatten(0, -2)
        return F.cross_entropy(logits, partner.expand(*a.shape[:-2], -1).flatten())
