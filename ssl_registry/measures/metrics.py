"""Figures of merit, each a plain float: for classes, several labels at once, and numbers.

scikit-learn is imported when it is used: it takes a second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.data.source import Task

__all__ = ["classification_metrics", "judge", "multilabel_metrics", "regression_metrics"]


def classification_metrics(
    predictions: Tensor, labels: Tensor, scores: Tensor | None = None, classes: Tensor | None = None
) -> dict[str, float]:
    """Return accuracy, balanced accuracy, macro F1 and, given scores, AUROC.

    Balanced accuracy is the mean recall of the classes that occur. AUROC is the mean over the classes of one against
    the rest, as far as ``labels`` hold both.

    Args:
        predictions: [M], classes.
        labels: [M], the true ones.
        scores: [M, C], one column a class, larger for likelier.
        classes: [C], which class each column is; default 0 to C-1.

    Example:
        >>> import torch
        >>> figures = classification_metrics(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1]))
        >>> figures["accuracy"], figures["balanced_accuracy"]
        (0.75, 0.75)
    """
    from sklearn.metrics import f1_score, recall_score

    truth, guess = _numpy(labels), _numpy(predictions)
    figures = {
        "accuracy": float((truth == guess).mean()),
        "balanced_accuracy": float(
            recall_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)
        ),
        "macro_f1": float(f1_score(truth, guess, average="macro", zero_division=0)),
    }
    if scores is not None:
        columns = np.arange(scores.shape[1]) if classes is None else _numpy(classes)
        auroc = _mean_auroc(truth[:, None] == columns, _numpy(scores))
        figures |= {} if auroc is None else {"auroc": auroc}
    return figures


def multilabel_metrics(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy (share of labels that are right), that of whole rows, macro F1 and AUROC.

    Args:
        scores: [M, L], probabilities; 0.5 and above says that the label holds.
        labels: [M, L], 0 and 1.
    """
    from sklearn.metrics import f1_score

    truth, likely = _numpy(labels).astype(bool), _numpy(scores)
    guess = likely >= 0.5
    figures = {
        "accuracy": float((truth == guess).mean()),
        "exact_match": float((truth == guess).all(1).mean()),
        "macro_f1": float(np.mean([f1_score(t, g, zero_division=0) for t, g in zip(truth.T, guess.T, strict=True)])),
    }
    auroc = _mean_auroc(truth, likely)
    return figures if auroc is None else figures | {"auroc": auroc}


def regression_metrics(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Return R2, the mean absolute and the root mean square error, each averaged over the targets' columns.

    Args:
        predictions, targets: [M] or [M, T].
    """
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    truth, guess = _numpy(targets), _numpy(predictions)
    figures = {
        "mae": float(mean_absolute_error(truth, guess)),
        "rmse": float(np.sqrt(mean_squared_error(truth, guess))),
    }
    return {"r2": float(r2_score(truth, guess))} | figures if len(truth) > 1 else figures


def judge(
    task: Task, outputs: Tensor, targets: Tensor, classes: Tensor | None
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Turn outputs [M, K] of a linear map into scores, predictions and metrics."""
    if classes is not None:
        scores, predictions = outputs.softmax(1), classes[outputs.argmax(1)]
        return scores, predictions, classification_metrics(predictions, targets, scores, classes)
    if task == "multilabel":
        scores = outputs.sigmoid()
        return scores, (scores >= 0.5).to(targets.dtype), multilabel_metrics(scores, targets)
    predictions = outputs.reshape(targets.shape)
    return outputs, predictions, regression_metrics(predictions, targets)


def _mean_auroc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Return the mean over the columns that hold both truths, None where none does."""
    from sklearn.metrics import roc_auc_score

    both = [column for column in range(truth.shape[1]) if 0 < truth[:, column].sum() < len(truth)]
    areas = [roc_auc_score(truth[:, column], scores[:, column]) for column in both]
    return float(np.mean(areas)) if areas else None


def _numpy(values: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = values.detach().cpu().numpy()
    return array
