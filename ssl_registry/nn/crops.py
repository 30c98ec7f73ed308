"""`forward_crops`: views of several sizes through one network, in few passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor

__all__ = ["forward_crops"]


def forward_crops(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> Tensor:
    """Pass views through a network, those of one size that follow each other in one pass.

    So multi-crop training with two large and six small views makes two passes. BatchNorm's statistics are over all
    views of a pass, as in the authors' code of SwAV (Caron et al., 2020, arXiv:2006.09882) and DINO (Caron et al.,
    2021, arXiv:2104.14294).

    Args:
        network: maps [batch, ...] to [batch, dim].
        views: each [batch, ...], in any sizes.

    Returns:
        [views * batch, dim], one view after the other: ``forward_crops(...).chunk(len(views))`` gives each its own.

    Example:
        >>> crops = [torch.ones(2, 3, 8, 8), torch.ones(2, 3, 8, 8), torch.ones(2, 3, 4, 4)]
        >>> forward_crops(lambda x: x.sum((2, 3)), crops)[:, 0]
        tensor([64., 64., 64., 64., 16., 16.])
    """
    groups = (list(group) for _, group in groupby(views, key=lambda view: view.shape[1:]))
    features = [network(torch.cat(group) if len(group) > 1 else group[0]) for group in groups]
    return torch.cat(features) if len(features) > 1 else features[0]
