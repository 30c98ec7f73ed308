"""Contrastive cross-entropy of any queries against any keys, by labels: queues, supervised contrast, pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ssl_registry_simclr.blocks import row_blocks

__all__ = ["contrastive_loss"]


def contrastive_loss(
    queries: Tensor,
    keys: Tensor,
    query_labels: Tensor,
    key_labels: Tensor,
    *,
    temperature: float = 0.1,
    first: int | None = None,
) -> Tensor:
    """Let each query find the keys of its own label among all keys.

    With unit vectors q_i and k_j, and P(i) the keys that have query i's label,

        l_i = -1/|P(i)| * sum_{p in P(i)} log( exp(<q_i, k_p> / T) / sum_j exp(<q_i, k_j> / T) )

    and the loss is its mean over the queries that have a positive; 0 if none has. By the labels it is

    - a loss with a queue: sample numbers for queries and their keys, -1 for the queue. The keys of a batch's other
      samples are negatives here too; in MoCo's (He et al., 2020, arXiv:1911.05722) the queue alone has negatives;
    - the supervised contrastive loss: classes, with ``first=0`` for a batch against itself (Khosla et al., 2020,
      arXiv:2004.11362, equation 2);
    - one direction of CLIP's: pair numbers on both sides.

    Like `NTXentLoss` it is computed in float32, a block of rows at a time, with the gradient made on the way. Over
    several ranks give `ssl_registry.nn.gather` of keys and of their labels.

    Args:
        queries: [N, dim]; they need not be normalised.
        keys: [K, dim].
        query_labels: whole numbers, [N].
        key_labels: whole numbers, [K].
        temperature: T, above 0.
        first: number of the key that is the first query itself, where all queries are among the keys in their
            order: a query is then neither its own positive nor its own negative.

    Returns:
        A scalar in float32 (float64 for float64).

    Raises:
        ValueError: if shapes do not fit, or ``temperature`` is not above 0.

    Example:
        >>> query, queue = torch.eye(3)[:1], torch.eye(3)
        >>> contrastive_loss(query, queue, torch.tensor([0]), torch.tensor([0, -1, -1]), temperature=1.0)
        tensor(0.5514)
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0")
    shapes = queries.shape, keys.shape, query_labels.shape, key_labels.shape
    if queries.ndim != 2 or keys.ndim != 2 or shapes[0][1:] != shapes[1][1:] or not len(queries) or not len(keys):
        raise ValueError(f"queries {list(shapes[0])} and keys {list(shapes[1])} must be [N, dim] and [K, dim]")
    if shapes[2:] != (shapes[0][:1], shapes[1][:1]):
        raise ValueError(
            f"labels have shapes {list(shapes[2])} and {list(shapes[3])}; "
            f"{len(queries)} queries and {len(keys)} keys have one each"
        )
    if first is not None and not 0 <= first <= len(keys) - len(queries):
        raise ValueError(f"first={first} leaves no room for {len(queries)} queries among {len(keys)} keys")
    dtype = torch.promote_types(torch.promote_types(queries.dtype, keys.dtype), torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        q, k = F.normalize(queries.to(dtype), dim=1), F.normalize(keys.to(dtype), dim=1)
        labels = query_labels.to(q.device), key_labels.to(q.device)
        return _ByLabels.apply(q, k, labels, temperature, first)  # type: ignore[no-any-return]


class _ByLabels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, labels: tuple[Tensor, Tensor], temperature: float, first: int | None
    ) -> Tensor:
        grad_queries = torch.zeros_like(queries) if ctx.needs_input_grad[0] else None
        grad_keys = torch.zeros_like(keys) if ctx.needs_input_grad[1] else None
        total, counted = queries.new_zeros(()), queries.new_zeros(())
        for some in row_blocks(queries, keys):
            logits = (queries[some] / temperature) @ keys.T  # [b, K]
            positive = labels[0][some, None] == labels[1]
            if first is not None:
                itself = torch.arange(some.start + first, some.stop + first, device=keys.device)[:, None]
                logits.scatter_(1, itself, -torch.inf)
                positive.scatter_(1, itself, False)
            number = positive.sum(1, keepdim=True)  # [b, 1]
            share = positive / number.clamp(min=1)  # [b, K]; rows of zeros where there is no positive
            # A query that is the only key has no sum at all; a finite one keeps NaN out of what is weighed with 0.
            sums = logits.logsumexp(1, keepdim=True).clamp_(min=torch.finfo(logits.dtype).min)
            has = (number > 0).to(logits.dtype)
            total += (has * sums).sum() - torch.where(positive, logits, 0.0).mul_(share).sum()
            counted += has.sum()
            if grad_queries is not None or grad_keys is not None:
                weights = logits.sub_(sums).exp_().mul_(has).sub_(share)
                if grad_queries is not None:
                    torch.mm(weights, keys, out=grad_queries[some])
                if grad_keys is not None:
                    grad_keys.addmm_(weights.T, queries[some])
        scale = 1 / counted.clamp(min=1)
        ctx.save_for_backward(grad_queries, grad_keys, scale / temperature)
        return total * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        *halves, scale = ctx.saved_tensors
        of_queries, of_keys = (None if half is None else half * (grad * scale) for half in halves)
        return of_queries, of_keys, None, None, None
