"""Gradient boosting on the columns of a table: what a network's features of them must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_registry.measures.metrics import classification_metrics

__all__ = ["boosting"]


def boosting(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, *, seed: int = 0) -> dict[str, float]:
    """Fit scikit-learn's histogram gradient boosting; return its figures on the test part.

    With its defaults, but for leaves of a tenth of the samples where there are fewer than 200.

    Args:
        x, y: training samples [N, D] and classes [N].
        x_test, y_test: of the test part.
        seed: of its own validation part, which more than 10,000 samples have.

    Example:
        >>> x = torch.linspace(-1, 1, 80)[:, None]
        >>> boosting(x, (x[:, 0] > 0).long(), x, (x[:, 0] > 0).long())["accuracy"]
        1.0
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Leaves of 20 samples, the default, leave a few dozen undivided: every prediction would be the same class.
    leaf = min(20, max(1, len(x) // 10))
    model = HistGradientBoostingClassifier(random_state=seed, min_samples_leaf=leaf)
    model.fit(x.cpu().numpy(), y.cpu().numpy())
    scores = torch.as_tensor(model.predict_proba(x_test.cpu().numpy()))
    classes = torch.as_tensor(model.classes_)
    return classification_metrics(classes[scores.argmax(1)], y_test.cpu(), scores, classes)
