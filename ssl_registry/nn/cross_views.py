"""`cross_view_entropy`: what one view is assigned to, predicted from all other views."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["cross_view_entropy"]


def cross_view_entropy(targets: Tensor, logits: Tensor, *, temperature: float) -> Tensor:
    """Average, over all pairs of a target's view and another view, the cross-entropy of the two distributions.

    With targets t_i for the first views and logits s_j of all views,

        loss = mean over pairs i != j and over samples of -sum_k t_ik log softmax(s_j / temperature)_k.

    It is the swapped prediction of SwAV with codes as targets (Caron et al., 2020, arXiv:2006.09882, equations 1 and 2,
    and section 3.3 for multi-crop), and the loss of DINO with the teacher's softmax (Caron et al., 2021,
    arXiv:2104.14294, equation 3).

    Logits are read once for all pairs, and the gradient is made on the way, in one tensor of their size. A second
    derivative is not available.

    Args:
        targets: [assigned views, batch, K], of the first views in their order; each row sums to 1. They get no
            gradient.
        logits: [views, batch, K].
        temperature: above 0.

    Returns:
        A scalar in float32 (float64 for float64), also under autocast; over this rank's samples.

    Raises:
        ValueError: if shapes do not fit, there is no pair of different views, or ``temperature`` is not above 0.

    Example:
        >>> certain = torch.tensor([[[1.0, 0.0]]])
        >>> cross_view_entropy(certain, torch.zeros(3, 1, 2), temperature=1.0)  # log(2)
        tensor(0.6931)
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0")
    shapes = list(targets.shape), list(logits.shape)
    if targets.ndim != 3 or logits.ndim != 3 or shapes[0][1:] != shapes[1][1:] or not 0 < len(targets) <= len(logits):
        raise ValueError(f"targets {shapes[0]} and logits {shapes[1]} must be [assigned views or views, batch, K]")
    if len(logits) < 2:
        raise ValueError("there is one view alone, and none to predict its target from; draw at least two")
    dtype = torch.promote_types(torch.promote_types(targets.dtype, logits.dtype), torch.float32)
    with torch.autocast(logits.device.type, enabled=False):
        return _CrossViews.apply(targets.detach().to(dtype), logits.to(dtype), temperature)  # type: ignore[no-any-return]


class _CrossViews(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, targets: Tensor, logits: Tensor, temperature: float) -> Tensor:
        everyone = targets.sum(0) if len(targets) > 1 else targets[0]  # [batch, K]
        grad = logits / temperature  # [views, batch, K]; becomes the gradient, view by view
        terms = []
        for number, x in enumerate(grad.unbind()):
            pairs = len(targets) - (number < len(targets))  # of this view with others' targets
            if not pairs:  # the only view with a target predicts nothing
                x.zero_()
                continue
            wanted = everyone - targets[number] if number < len(targets) else everyone  # rows sum to ``pairs``
            # -sum wanted * log softmax(x) = pairs * logsumexp(x) - sum wanted * x, whatever x is shifted by.
            x -= x.amax(1, keepdim=True)
            product = (wanted * x).sum()  # torch.dot adds up one after the other, and loses three digits
            sums = x.exp_().sum(1, keepdim=True)  # [batch, 1]
            terms.append(pairs * sums.log().sum() - product)
            x.mul_(pairs / sums).sub_(wanted)
        count = len(targets) * (len(logits) - 1) * logits.shape[1]
        ctx.save_for_backward(grad)
        ctx.scale = 1 / (count * temperature)
        return torch.stack(terms).sum() / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        (unscaled,) = ctx.saved_tensors
        return None, unscaled * (grad * ctx.scale), None
