"""What the student is compared with: the teacher's similarities to a set of features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["mix", "similarity_loss"]


def similarity_loss(
    student: Tensor, teacher: Tensor, anchors: Tensor, temperature: float = 0.07, used: Tensor | None = None
) -> Tensor:
    """Return the divergence of the student's similarities to anchors from the teacher's.

    With p and q the softmax, over all anchors, of the cosines of a sample's teacher and student feature to them,
    divided by the temperature, it is the mean over samples of KL(p || q) = sum of p (log p - log q). Its gradient is
    that of the cross-entropy between them.

    Source: lightly-train's distillation of version 1 (lightly-ai/lightly-train, _methods/distillation), where the
    anchors, teacher's features of past batches, are called a pseudo classifier.

    Args:
        student: features [batch, dim], of any length.
        teacher: features [batch, dim] of the same samples.
        anchors: [number, dim], of length 1.
        temperature: of both.
        used: which of the anchors take part, [number], boolean; default: all.

    Returns:
        A scalar in float32 (float64 for float64), also for half precision and under autocast.

    Raises:
        ValueError: for shapes that do not fit, or a temperature that is not above 0.

    Example:
        >>> x = torch.eye(2)
        >>> similarity_loss(3 * x, x, anchors=x).item()
        0.0
        >>> round(similarity_loss(x.flip(0), x, anchors=x, temperature=1.0).item(), 3)
        0.462
    """
    if student.ndim != 2 or student.shape != teacher.shape or anchors.ndim != 2 or anchors.shape[1] != student.shape[1]:
        raise ValueError(
            f"student and teacher have shapes {list(student.shape)} and {list(teacher.shape)}, anchors "
            f"{list(anchors.shape)}; they must be the same [batch, dim], and [number, dim]"
        )
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0")
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    with torch.autocast(student.device.type, enabled=False):
        keys = anchors.to(dtype).T
        scores = [F.normalize(x.to(dtype), dim=1) @ keys / temperature for x in (student, teacher)]
        if used is not None:
            # Not infinity: a probability of 0 times that is no number.
            scores = [x.masked_fill(~used, torch.finfo(dtype).min / 2) for x in scores]
        q, p = (x.log_softmax(1) for x in scores)
        return F.kl_div(q, p, reduction="batchmean", log_target=True)


def mix(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mix each sample with another one of the batch, all in one proportion, which is even in [0, 1].

    Source: lightly-train's distillation; mixup is Zhang et al., 2018, arXiv:1710.09412, and as an input of both
    networks Beyer et al., 2022, arXiv:2106.05237.

    Args:
        x: [batch, ...].
        generator: on the device of ``x``.

    Returns:
        Of the same shape.
    """
    order = torch.randperm(len(x), generator=generator, device=x.device)
    share = torch.rand((), generator=generator, device=x.device, dtype=torch.float32).to(x.dtype)
    return torch.lerp(x.index_select(0, order), x, share)
