"""How good are the features? Measures of a backbone, each a function of features and labels.

- `features`: `extract_features`, a loader through a network; `pixels`, the raw baseline
- `knn`: `knn_predict` and `knn_accuracy`, the weighted vote of the nearest neighbours
"""

from __future__ import annotations

from ssl_registry.evaluation.features import extract_features, pixels
from ssl_registry.evaluation.knn import knn_accuracy, knn_predict

__all__ = ["extract_features", "knn_accuracy", "knn_predict", "pixels"]
