"""From a loader to a matrix of features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ssl_registry.batches import describe
from ssl_registry.errors import BatchError, DataError
from ssl_registry.nn import evaluating

__all__ = ["extract_features", "pixels"]


def extract_features(
    embed: Callable[[Tensor], Tensor],
    loader: Iterable[Any],
    *,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Map every batch of a loader to features, without gradient.

    Args:
        embed: maps [batch, ...] to [batch, features], such as ``model.embed`` or `pixels`. A module, or a
            module's method, is called in eval mode and left in the mode it was found in.
        loader: yields x or (x, y); y holds one label a sample.
        device: where the inputs go before ``embed``, which stays where it is; None leaves them.

    Returns:
        Features [N, D] in float32, and labels [N] or None if there are none; both on the CPU and in the
        loader's order.

    Raises:
        BatchError: if a batch is neither x nor (x, y).
        DataError: for an empty loader, labels in some batches only, or an ``embed`` that does not give one
            vector a sample.

    Example:
        >>> features, labels = extract_features(pixels, [(torch.zeros(2, 1, 4, 4), torch.tensor([3, 7]))])
        >>> features.shape, labels
        (torch.Size([2, 16]), tensor([3, 7]))
    """
    owner = getattr(embed, "__self__", embed)
    features: list[Tensor] = []
    labels: list[Tensor | None] = []
    with torch.inference_mode(), evaluating(owner) if isinstance(owner, nn.Module) else nullcontext():
        for batch in loader:
            x, y = _split(batch)
            vectors = embed(x if device is None else x.to(device))
            width = features[0].shape[1] if features else None
            features.append(_checked(vectors, len(x), width).to("cpu", torch.float32))
            labels.append(y if y is None else y.cpu())
    if not features:
        raise DataError("the loader gave no batch; give it at least one sample")
    given = [y for y in labels if y is not None]
    if given and len(given) < len(labels):
        raise DataError(f"{len(given)} of {len(labels)} batches have labels; give labels to all or to none")
    # Outside of inference mode: a tensor made within it cannot be trained on.
    return torch.cat(features), torch.cat(given) if given else None


def pixels(x: Tensor) -> Tensor:
    """Return the input itself as features, the baseline that a trained backbone has to beat.

    Args:
        x: [batch, ...]; uint8 is read as an image and scaled to [0, 1], as everywhere here.

    Returns:
        [batch, features] in float32.

    Example:
        >>> pixels(torch.full((1, 1, 1, 2), 255, dtype=torch.uint8))
        tensor([[1., 1.]])
    """
    flat = x.flatten(1).float()
    return flat / 255 if x.dtype == torch.uint8 else flat


def _split(batch: Any) -> tuple[Tensor, Tensor | None]:
    x, y = batch, None
    if isinstance(batch, list | tuple) and len(batch) in (1, 2):
        x, y = batch[0], batch[1] if len(batch) == 2 else None
    if isinstance(x, Tensor) and x.ndim > 0 and (y is None or (isinstance(y, Tensor) and y.shape == x.shape[:1])):
        return x, y
    raise BatchError(
        f"the batch is {describe(batch)}; accepted: a tensor x [batch, ...], or (x, y) with labels y [batch]"
    )


def _checked(vectors: Any, count: int, width: int | None) -> Tensor:
    if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) != count:
        raise DataError(
            f"embed returned {describe(vectors)} for {count} samples; it must return one vector a sample, "
            "[batch, features]: pool or flatten its output"
        )
    if width is not None and vectors.shape[1] != width:
        raise DataError(f"embed returned {describe(vectors)} after vectors of width {width}; give inputs of one shape")
    return vectors
