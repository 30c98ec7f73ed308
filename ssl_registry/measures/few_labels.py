"""Which training samples keep their label, when only some may."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ssl_registry.data.arrays.labels import stratified_holdout
from ssl_registry.errors import ConfigError

__all__ = [
    "check_labels",
    "choose_labeled",
    "labels_in_words",
    "order_of_title",
    "title_of",
    "where_labels_are",
]


def labels_in_words(labels: float) -> str:
    """Say how many labels there are: a share of them, or above 1 so many of each class.

    >>> labels_in_words(0.1), labels_in_words(5)
    ('10 %', '5 a class')
    """
    return f"{100 * labels:g} %" if labels <= 1 else f"{labels:g} a class"


def check_labels(labels: float) -> None:
    """Refuse what is neither a share of the labels nor a number of them.

    Raises:
        ConfigError: saying what is taken.
    """
    if not (0 < labels <= 1 or (labels > 1 and labels == int(labels))):
        raise ConfigError(
            f"labels={labels:g} is neither a share, above 0 and at most 1, nor a whole number of labels a class"
        )


def title_of(protocol: str, labels: float) -> str:
    """Name a protocol that sees some of the labels.

    >>> title_of("linear", 1), title_of("linear", 0.1)
    ('linear', 'linear 10 %')
    """
    return protocol if labels == 1 else f"{protocol} {labels_in_words(labels)}"


def where_labels_are(modality: str) -> str:
    """Say how data come to have labels, for messages.

    >>> where_labels_are("table")
    '--data.label COLUMN names their column, or --data LABELLED gives other data that have them'
    """
    own = {
        "image": "--data LABELLED gives images that have them, such as a folder with a folder for each class",
        "table": "--data.label COLUMN names their column, or --data LABELLED gives other data that have them",
    }
    other = "--data.label COLUMN names their column in a table, y beside X holds them in a file of arrays"
    return own.get(modality, f"{other}, or --data LABELLED gives other data that have them")


def order_of_title(title: str) -> tuple[str, int, float]:
    """Return what titles sort by: the protocol, then from few labels to all.

    >>> titles = ["linear", "linear 10 %", "knn", "linear 20 a class", "linear 5 a class", "linear 1 %"]
    >>> sorted(titles, key=order_of_title)
    ['knn', 'linear 5 a class', 'linear 20 a class', 'linear 1 %', 'linear 10 %', 'linear']
    """
    protocol, _, amount = title.partition(" ")
    found = re.match(r"([\d.e+-]+) (%|a class)", amount)
    if found is None:
        return protocol, 2, 0.0
    return protocol, int(found[2] == "%"), float(found[1])


def choose_labeled(labels: Tensor, amount: float, seed: int) -> list[int]:
    """Choose some samples of each class.

    Args:
        labels: [N]; -1 for samples that have none, which are never chosen.
        amount: a share, above 0 and at most 1, and at least one of each class; or so many of each, or all of a class
            that has fewer.
        seed: of the choice.

    Returns:
        Indices, in ascending order.

    Example:
        >>> labels = torch.tensor([0] * 20 + [1] * 10)
        >>> len(choose_labeled(labels, 0.1, seed=0)), len(choose_labeled(labels, 5, seed=0))
        (3, 10)
    """
    if amount == 1:
        return (labels >= 0).nonzero()[:, 0].tolist()
    rows = [(labels == label).nonzero()[:, 0] for label in torch.unique(labels[labels >= 0])]
    if amount > 1:
        rng = torch.Generator().manual_seed(seed)
        return sorted(i for of in rows for i in of[torch.randperm(len(of), generator=rng)[: int(amount)]].tolist())
    _, chosen = stratified_holdout(labels.numpy(), amount, seed)
    # A class of a single sample is never held out, so here it would be lost.
    return sorted({*chosen.tolist(), *(int(alone[0]) for alone in rows if len(alone) == 1)})
