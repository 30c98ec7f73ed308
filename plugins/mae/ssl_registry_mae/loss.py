"""The loss of a masked autoencoder: the squared distance of predicted and true pixels of masked patches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn import normalize_patches, select_patches

__all__ = ["reconstruction_loss"]


def reconstruction_loss(prediction: Tensor, patches: Tensor, masked: Tensor, *, normalize: bool = True) -> Tensor:
    """Return the mean squared error over the pixels of masked patches; visible ones have no part in it.

    Source: He et al., 2021, arXiv:2111.06377, section 3, reconstruction target.

    Args:
        prediction: pixels of the masked patches, [batch, M, values].
        patches: pixels of all patches, [batch, N, values], as `ssl_registry.nn.patchify` cuts them.
        masked: indices of the masked patches in the order of ``prediction``, [batch, M] int64.
        normalize: compare with pixels of mean 0 and variance 1 in each patch.

    Returns:
        A scalar in float32 (float64 for float64), also for half-precision inputs and under autocast.

    Example:
        >>> patches = torch.tensor([[[1.0, 3.0], [5.0, 9.0]]])
        >>> reconstruction_loss(torch.zeros(1, 1, 2), patches, torch.tensor([[1]]), normalize=False)
        tensor(53.)
    """
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    target = select_patches(patches.to(dtype), masked)
    return F.mse_loss(prediction.to(dtype), normalize_patches(target) if normalize else target)
