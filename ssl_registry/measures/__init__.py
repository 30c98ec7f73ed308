"""How good are the features? Measures of a backbone, each a function of features and labels.

- `features`: `extract_features`, a loader through a network; `pixels`, the raw baseline
- `knn`: `knn_predict` and `knn_accuracy`, the weighted vote of the nearest neighbours
- `probe`: `linear_probe`, with its `solvers`; `targets` tells what is to be predicted
- `adam_probe`: the linear evaluation of TS-TCC and of LFR's authors
- `segmentation`: labels of patches, k-NN and a linear layer on tokens, intersection over union
- `metrics`: scores for classes, several labels at once, and numbers
"""

from __future__ import annotations

from ssl_registry.measures.adam_probe import adam_probe
from ssl_registry.measures.features import extract_features, pixels
from ssl_registry.measures.knn import knn_accuracy, knn_predict
from ssl_registry.measures.metrics import classification_metrics, multilabel_metrics, regression_metrics
from ssl_registry.measures.probe import ProbeResult, linear_probe

__all__ = [
    "ProbeResult",
    "adam_probe",
    "classification_metrics",
    "extract_features",
    "knn_accuracy",
    "knn_predict",
    "linear_probe",
    "multilabel_metrics",
    "pixels",
    "regression_metrics",
]
