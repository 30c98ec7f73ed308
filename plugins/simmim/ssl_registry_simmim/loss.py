"""The loss of SimMIM: the absolute distance of predicted and true pixels of masked patches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn import select_patches

__all__ = ["masked_l1"]


def masked_l1(prediction: Tensor, patches: Tensor, masked: Tensor) -> Tensor:
    """Return the mean absolute error over the pixels of masked patches.

    Source: Xie et al., 2021, arXiv:2111.09886, section 3.4, equation 1.

    Args:
        prediction: pixels of the masked patches, [batch, M, values].
        patches: pixels of all patches, [batch, N, values], as `ssl_registry.nn.patchify` cuts them.
        masked: indices of the masked patches in the order of ``prediction``, [batch, M] int64.

    Returns:
        A scalar in float32 (float64 for float64), also for half-precision inputs and under autocast.

    Example:
        >>> masked_l1(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 3.0], [5.0, 9.0]]]), torch.tensor([[1]]))
        tensor(7.)
    """
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    return F.l1_loss(prediction.to(dtype), select_patches(patches, masked).to(dtype))
