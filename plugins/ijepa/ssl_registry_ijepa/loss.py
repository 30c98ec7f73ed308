"""The loss of I-JEPA: the distance of predicted and true tokens, the true ones normalized."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["latent_loss"]


def latent_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the smooth L1 distance of predictions to tokens of mean 0 and variance 1, averaged over all values.

    Source: Assran et al., 2023, arXiv:2301.08243, section 3, states the squared distance; the authors' code
    (facebookresearch/ijepa, src/train.py) normalizes the target over its values and takes smooth L1, as here.

    Args:
        prediction: [..., dim].
        target: tokens of the teacher, the same shape, without gradient.

    Returns:
        A scalar in float32 (float64 for float64), also for half-precision inputs and under autocast.

    Example:
        >>> latent_loss(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]))
        tensor(0.5000)
    """
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    with torch.autocast(prediction.device.type, enabled=False):
        return F.smooth_l1_loss(prediction.to(dtype), F.layer_norm(target.to(dtype), target.shape[-1:]))
