"""How right the classifier is that fine-tuning trained: classes are compared by their names."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_registry.errors import DataError
from ssl_registry.measures.metrics import classification_metrics
from ssl_registry.measures.targets import labeled_only
from ssl_registry.runs.finetuned import Classifier
from ssl_registry.workflows.evaluate.results import Score

__all__ = ["judge_classifier"]


def judge_classifier(
    scores: Tensor, labels: Tensor | None, names: tuple[str, ...], classifier: Classifier
) -> dict[str, Score]:
    """Return the metrics of a classifier on a test part.

    Args:
        scores: [M, classes of the classifier].
        labels: [M], by the source's numbers; -1 for none.
        names: of the source's classes. One that the classifier does not know is never predicted, so its samples count
            as wrong.
        classifier: whose scores they are.

    Raises:
        DataError: if there are no labels, or the two have no class in common.
    """
    scores, labels = labeled_only(scores, labels)
    if labels is None or not len(labels):
        raise DataError("the test part has no labels to compare the classifier's answers with")
    known = {name: number for number, name in enumerate(classifier.classes)}
    if not known.keys() & set(names):
        raise DataError(
            f"the data have the classes {', '.join(names[:5])}, the classifier has "
            f"{', '.join(classifier.classes[:5])}: none in common"
        )
    number = torch.tensor([known.get(name, len(known) + place) for place, name in enumerate(names)])
    found = classification_metrics(scores.argmax(1), number[labels], scores.softmax(1))
    return {name: Score(value) for name, value in found.items()}
