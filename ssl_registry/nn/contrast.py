"""`info_nce`: each query finds its own key among other keys, of the batch of all ranks or of a queue."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ssl_registry.nn.gather import gather, rank

__all__ = ["info_nce"]

# Similarities to negatives that are held at once, 16 MiB in float32.
SIMILARITIES_AT_ONCE = 1 << 22


def info_nce(queries: Tensor, keys: Tensor, *, temperature: float, negatives: Tensor | None = None) -> Tensor:
    """Average over the queries the cross-entropy of finding one's own key.

        l_i = -log( exp(<q_i, k_i> / T) / sum_k exp(<q_i, k> / T) ), of unit vectors,

    where k runs over the keys of all ranks, or, with ``negatives``, over these and the query's own key.

    Sources: van den Oord et al., 2018, arXiv:1807.03748, equation 4. With a queue's vectors as negatives it is the loss
    of MoCo (He et al., 2020, arXiv:1911.05722, equation 1); without, that of MoCo v3 (Chen et al., 2021,
    arXiv:2104.02057, equation 1) and of NNCLR (Dwibedi et al., 2021, arXiv:2104.14548, equation 4). A query meets no
    other query; for that see NT-Xent in ssl-registry-simclr.

    With negatives the gradient is made along with the value, some queries at a time, so that [batch, K] is never
    whole; a second derivative is not available.

    Args:
        queries: [batch, dim], of any length.
        keys: [batch, dim], of any length, the i-th is the i-th query's own; with gradient or without. Without negatives
            every rank must hold equally many.
        temperature: T, above 0.
        negatives: [K, dim], of length 1, without gradient.

    Returns:
        A scalar in float32 (float64 for float64), also under autocast; over this rank's queries.

    Raises:
        ValueError: if shapes do not fit, or ``temperature`` is not above 0.

    Example:
        >>> info_nce(torch.eye(2), torch.eye(2), temperature=1.0)  # log(e + 1) - 1
        tensor(0.3133)
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0")
    if queries.shape != keys.shape or queries.ndim != 2 or not len(queries):
        raise ValueError(f"queries {list(queries.shape)} and keys {list(keys.shape)} must be the same [batch, dim]")
    if negatives is not None and negatives.shape[1:] != queries.shape[1:]:
        raise ValueError(f"negatives {list(negatives.shape)} must be [number, {queries.shape[1]}]")
    dtype = torch.promote_types(torch.promote_types(queries.dtype, keys.dtype), torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        q, k = F.normalize(queries.to(dtype), dim=1), F.normalize(keys.to(dtype), dim=1)
        if negatives is None:
            own = torch.arange(len(q), device=q.device) + rank() * len(q)
            return F.cross_entropy((q / temperature) @ gather(k).T, own)  # [batch, batch of all ranks]
        positive = (q * k).sum(1) / temperature
        others = _LogSumExp.apply(q, negatives.to(dtype), temperature)
        # log(exp(positive) + exp(others)) - positive, whatever their size
        return F.softplus(others - positive).mean()


class _LogSumExp(torch.autograd.Function):
    """log sum_k exp(<q_i, k> / T), [batch], of queries [batch, dim] over keys [K, dim]; gradient for the queries."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
        rows = max(1, SIMILARITIES_AT_ONCE // len(keys))
        sums, means = [], []
        for some in torch.split(queries / temperature, rows):
            weights = some @ keys.T  # [rows, K]
            largest = weights.amax(1, keepdim=True)
            total = weights.sub_(largest).exp_().sum(1, keepdim=True)
            sums.append((largest + total.log()).squeeze(1))
            if ctx.needs_input_grad[0]:
                means.append((weights @ keys).div_(total * temperature))
        ctx.save_for_backward(*(torch.cat(means),) if means else ())
        return torch.cat(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (means,) = ctx.saved_tensors
        return grad[:, None] * means, None, None
