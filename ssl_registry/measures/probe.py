"""The linear probe: how much of a target a linear map finds in the features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ssl_registry.data.arrays.labels import stratified_holdout
from ssl_registry.errors import ConfigError, DataError
from ssl_registry.measures.metrics import judge
from ssl_registry.measures.solvers import Linear, fit_logistic, fit_ridge, fit_sgd
from ssl_registry.measures.targets import Task, check_targets, encode

__all__ = ["LEARNING_RATES", "STRENGTHS", "ProbeResult", "linear_probe"]

# Inverse strengths of the L2 penalty, scikit-learn's C, on standardised features.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# BYOL's sweep (Grill et al., 2020, appendix C.1), for batches of 1,024; standardised features want smaller ones too.
LEARNING_RATES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4)
VALIDATION_SHARE = 0.2  # of the training part
# Of fewer, many candidates are right equally often, and the first, the strongest penalty, says one class of all.
FEWEST = 12


@dataclass(frozen=True)
class ProbeResult:
    """A fitted probe and what it says of the test part.

    Args:
        task: ``classes``, ``multilabel`` or ``regression``.
        weight: [K, D], of the features as given (the standardisation is folded in).
        bias: [K].
        scores: [M, K] of the test samples: probabilities, or predicted numbers.
        predictions: classes [M] in the numbers of the training labels, labels [M, L] as 0 and 1, or the numbers.
        classes: [K], which class each column is; None when the task is another.
        metrics: by name.
        chosen: the penalty's C, or the learning rate, that won on the validation part.
        validation: what was reached there, by candidate, as far as the sweep went; empty without a sweep.
    """

    task: Task
    weight: Tensor
    bias: Tensor
    scores: Tensor
    predictions: Tensor
    classes: Tensor | None
    metrics: dict[str, float]
    chosen: float
    validation: dict[float, float]


def linear_probe(
    train_features: Tensor,
    train_targets: Tensor | None,
    test_features: Tensor,
    test_targets: Tensor | None,
    *,
    protocol: Literal["logistic", "sgd"] = "logistic",
    candidates: Sequence[float] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> ProbeResult:
    """Fit a linear map on training features and measure it on test features.

    Features are standardised by the training part. The candidates are fitted on four fifths of the training part and
    compared on the rest, in ascending order until two in a row are worse than the best, which is fitted on all of it.
    Where the rest are fewer than twelve samples they tell no candidates apart, and C is 1, the learning rate 0.1.

    ``logistic`` is scikit-learn's ``LogisticRegression`` on a CPU and the same objective by full-batch L-BFGS on a
    GPU (``Ridge`` for numbers); the candidates are its C. ``sgd`` is the protocol of the papers (SGD with Nesterov
    momentum 0.9, batches of 1,024, 80 epochs, cosine, no weight decay: BYOL, appendix C.1) on features of
    unaugmented samples; the candidates are its learning rates.

    Args:
        train_features: [N, D].
        train_targets: see `ssl_registry.measures.targets.task_of`.
        test_features: [M, D].
        test_targets: of the same task.
        protocol: ``logistic`` or ``sgd``.
        candidates: of the sweep; a single one is taken as it is.
        seed: of the validation part, and of SGD's order.
        device: where it is fitted.

    Raises:
        DataError: for missing, unfitting or one-class targets.
        ConfigError: for an unknown protocol or candidates out of range.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [0.9], [1.0]])
        >>> y = torch.tensor([3, 3, 8, 8])
        >>> linear_probe(x, y, x, y, candidates=[1.0]).predictions.tolist()
        [3, 3, 8, 8]
    """
    if protocol not in ("logistic", "sgd"):
        raise ConfigError(f"protocol={protocol!r} is not known; use 'logistic' or 'sgd'")
    candidates = tuple(sorted(candidates or (STRENGTHS if protocol == "logistic" else LEARNING_RATES)))
    if not all(candidate > 0 for candidate in candidates):
        raise ConfigError(f"candidates={candidates} must be above 0")
    task, train_targets = check_targets(train_features, train_targets, part="training")
    asked, test_targets = check_targets(test_features, test_targets, part="test")
    if asked != task or test_targets.shape[1:] != train_targets.shape[1:]:
        raise DataError(f"the training targets are {task} {list(train_targets.shape)}, the test ones {asked}")
    if train_features.shape[1] != test_features.shape[1]:
        raise DataError(
            f"the training features have width {train_features.shape[1]}, the test ones {test_features.shape[1]}"
        )
    classes, y = encode(task, train_targets)
    mean, std = _statistics(train_features)
    x = (train_features - mean) / std
    y_mean, y_std = _statistics(y) if task == "regression" else (0.0, torch.ones(1))
    y = (y - y_mean) / y_std if task == "regression" else y

    kept, held = _split(task, y, seed)
    validation: dict[float, float] = {}
    chosen = candidates[0] if len(candidates) == 1 else 1.0 if protocol == "logistic" else 0.1
    if len(candidates) > 1 and len(held) >= FEWEST:
        fits = _fit(protocol, task, x[kept], y[kept], candidates, seed, device)
        validation = _sweep(candidates, (_validate(task, fit, x[held], y[held]) for fit in fits))
        chosen = max(validation, key=validation.__getitem__)
    (fit,) = _fit(protocol, task, x, y, (chosen,), seed, device)

    weight = fit.weight * y_std[:, None] / std
    bias = fit.bias * y_std + y_mean - weight @ mean
    outputs = test_features @ weight.T + bias
    scores, predictions, metrics = judge(task, outputs, test_targets, classes)
    return ProbeResult(task, weight, bias, scores, predictions, classes, metrics, chosen, validation)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column; 1 where a column is constant but for rounding."""
    mean, std = x.mean(0), x.std(0, correction=0)
    return mean, std.masked_fill(std <= 1e-6 * mean.abs(), 1.0)


def _split(task: Task, y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return the rows to fit on and the rows to compare on."""
    if task == "classification":
        kept, held = stratified_holdout(y.cpu().numpy(), VALIDATION_SHARE, seed)
    else:
        order = np.random.default_rng(seed).permutation(len(y))
        held, kept = np.split(order, [round(VALIDATION_SHARE * len(y))])
    return torch.from_numpy(kept), torch.from_numpy(held)


def _fit(
    protocol: str, task: Task, x: Tensor, y: Tensor, candidates: Sequence[float], seed: int, device: torch.device | str
) -> Iterable[Linear]:
    if protocol == "sgd":
        return fit_sgd(x, y, task, candidates, seed=seed, device=device)
    if task == "regression":
        return (fit_ridge(x, y, strength) for strength in candidates)
    return fit_logistic(x, y, candidates, device=device)


def _sweep(candidates: Sequence[float], results: Iterable[float]) -> dict[float, float]:
    """Take results until two in a row are worse than the best: the weakest penalties take the longest to fit."""
    reached: dict[float, float] = {}
    worse = 0
    for candidate, result in zip(candidates, results, strict=False):
        worse = worse + 1 if reached and result < max(reached.values()) else 0
        reached[candidate] = result
        if worse == 2:
            break
    return reached


def _validate(task: Task, fit: Linear, x: Tensor, y: Tensor) -> float:
    """Return what is compared, larger for better."""
    outputs = x @ fit.weight.T + fit.bias
    if task == "classification":
        return float((outputs.argmax(1) == y).double().mean())
    if task == "regression":
        return -float((outputs - y).square().mean())
    return -float(torch.nn.functional.binary_cross_entropy_with_logits(outputs, y))
