"""Which samples keep their label when only a share of them may."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_registry.data import Source
from ssl_registry.data.arrays.labels import stratified_holdout

__all__ = ["choose_labeled", "read_labels"]


def read_labels(source: Source) -> Tensor:
    """Return the training labels [N], without decoding an image where the data set holds them apart."""
    labels = source.train.labels
    if labels is not None:
        return labels
    return torch.tensor([int(source.train[index][1]) for index in range(len(source.train))])


def choose_labeled(labels: Tensor, share: float, seed: int) -> list[int]:
    """Choose a share of each class, at least one of each.

    Args:
        labels: [N]; -1 for samples that have none, which are never chosen.
        share: above 0 and at most 1.
        seed: of the choice.

    Example:
        >>> len(choose_labeled(torch.tensor([0] * 20 + [1] * 10), 0.1, seed=0))
        3
    """
    if share == 1:
        return (labels >= 0).nonzero()[:, 0].tolist()
    _, chosen = stratified_holdout(labels.numpy(), share, seed)
    # A class of a single sample is never held out, so here it would be lost.
    rows = [(labels == label).nonzero()[:, 0] for label in torch.unique(labels[labels >= 0])]
    return sorted({*chosen.tolist(), *(int(alone[0]) for alone in rows if len(alone) == 1)})
