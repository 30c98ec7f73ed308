"""`future_info_nce`: predictions of the steps to come find them among other steps, of all ranks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn import gather, rank

__all__ = ["Among", "future_info_nce"]

Among = Literal["mixed", "others", "sample"]


def future_info_nce(
    predictions: Tensor,
    tokens: Tensor,
    *,
    among: Among = "mixed",
    num_negatives: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Average over how far it is predicted, and over all steps, the cross-entropy of finding the step to come.

        l_k(t) = -log( exp(<p_k(t), z(t + k)>) / sum over j of exp(<p_k(t), z_j>) ),  p_k(t) = W_k c(t),

    where j runs over the step to come itself and the negatives.

    Source: van den Oord et al., 2018, arXiv:1807.03748, equations 3 and 4; where negatives are from, table 2.

    Args:
        predictions: [batch, steps, K, dim], p of k = 1, ..., K.
        tokens: [batch, steps, dim], z; more steps than K.
        among: where negatives are from: "mixed", all steps of all samples, the own one among them; "others", of the
            other samples alone ("excl." in the table); "sample", of the own sample alone ("current sequence only").
        num_negatives: how many steps of all samples are drawn, once for all predictions; None takes all of them. Those
            that are the step to come, or of a sample that is left out, do not count for a prediction.
        generator: of the draw, on the tokens' device; with several ranks it must draw alike on all of them.

    Returns:
        A scalar in float32 (float64 for float64), also under autocast; over this rank's predictions.

    Raises:
        ValueError: if shapes do not fit, or nothing is left to predict.

    Example:
        >>> z = 100 * torch.eye(3)[None]  # three steps that have nothing in common
        >>> told = z.roll(-1, 1)[:, :, None]  # who knows the next one
        >>> future_info_nce(told, z)
        tensor(0.)
    """
    batch, steps, ahead, dim = predictions.shape
    if tokens.shape != (batch, steps, dim):
        raise ValueError(f"tokens {list(tokens.shape)} must be {[batch, steps, dim]} beside these predictions")
    if not 0 < ahead < steps:
        raise ValueError(f"of {steps} steps none is {ahead} ahead of another; predict fewer")
    dtype = torch.promote_types(torch.promote_types(predictions.dtype, tokens.dtype), torch.float32)
    with torch.autocast(tokens.device.type, enabled=False):
        p, z = predictions.to(dtype), tokens.to(dtype)
        if among == "sample":
            return torch.stack([_within(p[:, : steps - k, k - 1], z, k) for k in range(1, ahead + 1)]).mean()
        pool = gather(z).flatten(0, 1)  # [steps of all samples of all ranks, dim]
        chosen = torch.arange(len(pool), device=z.device)
        if num_negatives is not None and num_negatives < len(pool):
            chosen = torch.randperm(len(pool), generator=generator, device=z.device)[:num_negatives]
            pool = pool[chosen]
        own = (torch.arange(batch, device=z.device) + rank() * batch)[:, None] * steps  # [batch, 1], first steps
        losses = []
        for k in range(1, ahead + 1):
            now = p[:, : steps - k, k - 1]  # [batch, steps - k, dim]
            logits = now @ pool.T  # [batch, steps - k, negatives]
            if among == "others":
                left_out = (chosen // steps == own // steps)[:, None]  # [batch, 1, negatives]
            else:
                left_out = chosen == (own + torch.arange(k, steps, device=z.device))[:, :, None]
            logits = logits.masked_fill(left_out, -torch.inf)
            wanted = (now * z[:, k:]).sum(-1, keepdim=True)
            losses.append((torch.cat([wanted, logits], -1).logsumexp(-1) - wanted[..., 0]).mean())
        return torch.stack(losses).mean()


def _within(p: Tensor, z: Tensor, k: int) -> Tensor:
    """Find the step that is k ahead among all steps of the sample."""
    steps = z.shape[1]
    target = torch.arange(k, steps, device=z.device).expand(len(z), -1)
    return F.cross_entropy((p @ z.mT).flatten(0, 1), target.flatten())
