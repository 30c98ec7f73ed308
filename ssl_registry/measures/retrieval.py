"""What can be measured without labels: whether features tell samples apart, whatever view of them is seen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

__all__ = ["retrieval"]


def retrieval(first: Tensor, second: Tensor) -> float:
    """Return the share of samples whose second view is nearest to their first, by cosine similarity, of all samples.

    Args:
        first, second: [samples, features], a view of each sample.

    Returns:
        In [0, 1]; ``1 / samples`` is chance.

    Example:
        >>> retrieval(torch.eye(3), torch.eye(3) + 0.1)
        1.0
    """
    similarity = normalize(first, dim=1) @ normalize(second, dim=1).T
    return float((similarity.argmax(1) == torch.arange(len(first))).double().mean())
