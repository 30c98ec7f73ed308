"""Few labels: a probe is fitted on so many samples of each class, drawn anew for each seed."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_registry.errors import DataError

__all__ = ["Parts", "draw_labeled"]

# Features and targets to fit on, features and targets to measure on: [N, D], [N], [M, D], [M].
Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def draw_labeled(parts: Parts, per_class: int, seed: int) -> Parts:
    """Keep so many random samples of each class to fit on, and all samples to measure on.

    Which ones follows from labels, number and seed alone: features of several networks are measured with the same.

    Args:
        parts: features and labels, none of them missing.
        per_class: samples of each class.
        seed: of the draw.

    Raises:
        DataError: if a class has fewer samples.

    Example:
        >>> x, y = torch.arange(6.0)[:, None], torch.tensor([0, 0, 0, 1, 1, 1])
        >>> few = draw_labeled((x, y, x, y), 2, seed=0)
        >>> few[1].tolist(), few[3].tolist()
        ([0, 0, 1, 1], [0, 0, 0, 1, 1, 1])
    """
    x, y, x_test, y_test = parts
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label in torch.unique(y):
        rows = (y == label).nonzero()[:, 0]
        if len(rows) < per_class:
            raise DataError(
                f"a class has {len(rows)} labelled training samples, so {per_class} of each cannot be drawn; give "
                f"labels_per_class={len(rows)} or fewer"
            )
        chosen.append(rows[torch.randperm(len(rows), generator=generator)[:per_class]])
    few = torch.cat(chosen)
    return x[few], y[few], x_test, y_test
