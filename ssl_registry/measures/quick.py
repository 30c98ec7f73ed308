"""A quick measure of features: k-NN and a linear probe in a second to a minute, not the evaluation of a paper."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_registry.data import Source, SSLDataModule
from ssl_registry.errors import DataError
from ssl_registry.measures.features import extract_features
from ssl_registry.measures.knn import knn_accuracy
from ssl_registry.measures.probe import linear_probe
from ssl_registry.measures.targets import labeled_only

__all__ = ["MAX_SAMPLES", "QuickProbe", "can_probe", "quick_probe"]

# At most so many samples of each part: an accuracy of 0.5 is known to 0.7 points (its standard error) then.
MAX_SAMPLES = 5_000
NEIGHBORS = 20
# With 2,000 classes and 2.5 samples of each, a linear probe took 16 s on two cores, and told nothing that k-NN did not.
MANY_CLASSES, FEW_SAMPLES = 500, 5
# scikit-learn's C for standardised features; a sweep would cost ten times as much and moves it by a point or two.
INVERSE_PENALTY = 0.01


@dataclass(frozen=True)
class QuickProbe:
    """How good features are, by k-NN and a linear probe.

    Args:
        knn: accuracy in [0, 1] of weighted k-NN (k=20, T=0.1) on the held-out part.
        linear: accuracy of logistic regression there; None if it was not asked for, there is one class only, or more
            than 500 with fewer than 5 samples of each.
        seconds: that it took.
    """

    knn: float
    linear: float | None
    seconds: float


def can_probe(source: Source) -> bool:
    """Tell whether a source has what `quick_probe` needs: labels and a held-out part."""
    return source.labeled and source.test is not None


def quick_probe(
    embed: Callable[[Tensor], Tensor],
    datamodule: SSLDataModule,
    device: torch.device | None,
    *,
    linear: bool = True,
    samples: int = MAX_SAMPLES,
) -> QuickProbe | None:
    """Measure features on the held-out part of a labelled source; no random number is drawn.

    Args:
        embed: maps samples to features.
        datamodule: with labels and a held-out part.
        device: where the inputs of ``embed`` go.
        linear: fit the linear probe too.
        samples: at most so many of each part, of each class its share; the same ones each time.

    Returns:
        What was found; None where features are not finite.

    Raises:
        DataError: if samples come without labels.
    """
    started = time.perf_counter()
    bank, bank_labels = extract_features(embed, datamodule.train_eval_dataloader(limit=samples), device=device)
    queries, labels = extract_features(embed, datamodule.test_dataloader(limit=samples), device=device)
    if bank_labels is None or labels is None:
        raise DataError(f"{datamodule.source.name} says that it has labels, but its samples come without")
    if not bool(bank.isfinite().all() and queries.isfinite().all()):
        return None
    (bank, bank_labels), (queries, labels) = labeled_only(bank, bank_labels), labeled_only(queries, labels)
    assert bank_labels is not None
    assert labels is not None
    accuracy = knn_accuracy(bank, bank_labels, queries, labels, k=NEIGHBORS)
    probe = None
    classes = len(set(bank_labels.tolist()))  # of one there is nothing to tell it from
    if linear and classes > 1 and (classes <= MANY_CLASSES or len(bank) >= FEW_SAMPLES * classes):
        probe = linear_probe(bank, bank_labels, queries, labels, candidates=[INVERSE_PENALTY]).metrics["accuracy"]
    return QuickProbe(accuracy, probe, time.perf_counter() - started)
