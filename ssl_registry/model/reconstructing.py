"""`reconstruct`: a method's answer to the hook of this name, checked and brought back to the scale of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssl_registry.contract.reconstruction import Reconstruction
from ssl_registry.errors import ContractError
from ssl_registry.model.batches import describe

if TYPE_CHECKING:
    from ssl_registry.model.module import SSLModule

__all__ = ["checked_reconstruction"]


def checked_reconstruction(model: SSLModule, answer: Any, x: Tensor) -> Reconstruction | None:
    """Return what the hook gave, unnormalized: as floats, images in about [0, 1].

    Args:
        model: of the method.
        answer: of the hook; None where the method has nothing to show of this model.
        x: what the hook was given, [batch, *input_shape].

    Raises:
        ContractError: for another type, shape or grid.
    """
    if answer is None:
        return None
    owner = model.info.name
    if not isinstance(answer, Reconstruction):
        raise ContractError(
            f"{owner}: reconstruct must return ssl_registry.Reconstruction(output, mask), "
            f"it returned {describe(answer)}"
        )
    output, mask, note = answer
    if not isinstance(output, Tensor) or output.shape != x.shape or not output.is_floating_point():
        raise ContractError(
            f"{owner}: reconstruct was given {describe(x)} and returned {describe(output)} as output; it must have the "
            "same shape, in floats"
        )
    fits = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.ndim == x.ndim - 1 and len(mask) == len(x)
    if not fits or any(n == 0 or side % n for side, n in zip(x.shape[2:], mask.shape[1:], strict=True)):
        raise ContractError(
            f"{owner}: reconstruct returned {describe(mask)} as mask of {describe(x)}; it must be bool, [batch, rows, "
            "columns] for images or [batch, steps] for signals, with patches of one size that fill the sample"
        )
    return Reconstruction(model.view_policy.unnormalized(output.float()), mask, note)
