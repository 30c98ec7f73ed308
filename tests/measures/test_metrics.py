"""Figures of merit at their edges; scikit-learn's own values are not tested again."""

from __future__ import annotations

import pytest
import torch

from ssl_registry.measures import classification_metrics, multilabel_metrics, regression_metrics


def test_classes():
    """Balanced accuracy weighs classes alike; AUROC needs scores."""
    truth = torch.tensor([0, 0, 0, 0, 1])
    figures = classification_metrics(torch.zeros(5, dtype=torch.long), truth)
    assert figures == {"accuracy": 0.8, "balanced_accuracy": 0.5, "macro_f1": pytest.approx(4 / 9)}
    scores = torch.tensor([[0.9, 0.1]] * 4 + [[0.8, 0.2]])
    assert classification_metrics(scores.argmax(1), truth, scores)["auroc"] == 1.0


def test_predicted_class_that_never_occurs():
    """It costs accuracy and F1, and is no class to balance over."""
    figures = classification_metrics(torch.tensor([0, 5]), torch.tensor([0, 0]))
    assert (figures["accuracy"], figures["balanced_accuracy"], figures["macro_f1"]) == (0.5, 0.5, pytest.approx(1 / 3))


def test_auroc_passes_over_classes_without_both_truths():
    """One test class alone has no curve; of three, the one that never occurs is left out."""
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    assert "auroc" not in classification_metrics(torch.tensor([0, 0]), torch.tensor([0, 0]), scores[:, :1])
    assert classification_metrics(torch.tensor([0, 1]), torch.tensor([0, 1]), scores)["auroc"] == 1.0


def test_columns_may_be_any_classes():
    """Scores have a column for each class of the training part, whatever its number."""
    scores = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    figures = classification_metrics(torch.tensor([4, 9]), torch.tensor([4, 9]), scores, torch.tensor([4, 9]))
    assert figures["auroc"] == 1.0


def test_several_labels():
    """Single labels and whole rows are counted."""
    scores = torch.tensor([[0.9, 0.1], [0.9, 0.9]])
    figures = multilabel_metrics(scores, torch.tensor([[1, 0], [1, 0]]))
    assert (figures["accuracy"], figures["exact_match"]) == (0.75, 0.5)


def test_numbers():
    """R2 is 0 for the mean; with one sample there is none."""
    figures = regression_metrics(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 3.0]))
    assert figures == {"r2": 0.0, "mae": 1.0, "rmse": 1.0}
    assert "r2" not in regression_metrics(torch.tensor([2.0]), torch.tensor([1.0]))
