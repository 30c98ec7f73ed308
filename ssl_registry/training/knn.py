"""k-NN accuracy of a run: a thermometer, not the evaluation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ssl_registry.data import SSLDataModule
from ssl_registry.errors import DataError
from ssl_registry.evaluation import extract_features, knn_accuracy

__all__ = ["measure_knn"]

# More neighbours than these tell no more.
TRAIN_LIMIT = 20_000
NEIGHBOURS = 20


def measure_knn(embed: Callable[[Tensor], Tensor], datamodule: SSLDataModule, device: torch.device | None) -> float:
    """Return the accuracy in [0, 1] of weighted k-NN on the held-out part.

    Args:
        embed: maps samples to features.
        datamodule: with labels and a held-out part.
        device: where the inputs of ``embed`` go.

    Raises:
        DataError: if samples come without labels.
    """
    bank, bank_labels = extract_features(embed, datamodule.train_eval_dataloader(limit=TRAIN_LIMIT), device=device)
    queries, labels = extract_features(embed, datamodule.test_dataloader(), device=device)
    if bank_labels is None or labels is None:
        raise DataError(f"{datamodule.source.name} says that it has labels, but its samples come without")
    return knn_accuracy(bank, bank_labels, queries, labels, k=NEIGHBOURS)
