"""The target of data2vec: the mean of a teacher's top blocks, each normalized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["averaged_target"]


@torch.no_grad()
def averaged_target(layers: Sequence[Tensor], norm: Literal["layer", "instance"] = "layer") -> Tensor:
    """Normalize what each block gives, average over the blocks, and normalize each token of the mean.

    Source: Baevski et al., 2022, arXiv:2202.03555, section 3.3; which normalization is first, and the second, are
    those of the authors' code for images (facebookresearch/data2vec_vision, beit/engine_for_cyclical.py).

    Args:
        layers: patch tokens behind some blocks, each [batch, N, dim].
        norm: of each block: ``layer`` over the values of a token, ``instance`` over the tokens of an image.

    Returns:
        [batch, N, dim], in float32 (float64 for float64), also under autocast; without gradient.

    Example:
        >>> averaged_target([torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[2.0, 8.0]]])])
        tensor([[[-1.0000,  1.0000]]])
    """
    total = torch.zeros((), device=layers[0].device)
    with torch.autocast(layers[0].device.type, enabled=False):
        for layer in layers:
            values = layer.to(torch.promote_types(layer.dtype, torch.float32))
            if norm == "layer":
                total = total + F.layer_norm(values, values.shape[-1:])
            else:
                total = total + F.layer_norm(values.mT, values.shape[1:2]).mT
        return F.layer_norm(total / len(layers), total.shape[-1:])
