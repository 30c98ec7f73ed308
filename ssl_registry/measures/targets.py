"""What a target is: classes, several labels at once, or numbers; and the checks that every probe needs."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_registry.data.source import Task
from ssl_registry.errors import DataError, FeaturesNotFiniteError
from ssl_registry.model.batches import describe

__all__ = ["Task", "check_targets", "encode", "labeled_only", "task_of"]


def task_of(targets: Tensor) -> Task:
    """Tell what is asked for by the targets' shape and type.

    Args:
        targets: whole numbers [N] are classes; whole numbers or booleans [N, L] of 0 and 1 are L labels that hold or
            not; floats [N] or [N, T] are numbers to predict.

    Raises:
        DataError: if they are none of these.

    Example:
        >>> import torch
        >>> task_of(torch.tensor([0, 2])), task_of(torch.tensor([[1, 0], [1, 1]])), task_of(torch.tensor([0.5, 2.0]))
        ('classification', 'multilabel', 'regression')
    """
    if targets.ndim in (1, 2) and targets.numel():
        if targets.is_floating_point():
            return "regression"
        if targets.ndim == 1:
            return "classification"
        if int(targets.min()) >= 0 and int(targets.max()) <= 1:
            return "multilabel"
    raise DataError(
        f"the targets are {describe(targets)}; accepted: classes as whole numbers [N], labels as 0 and 1 [N, L], "
        "numbers as floats [N] or [N, T]"
    )


def check_targets(features: Tensor, targets: Tensor | None, *, part: str) -> tuple[Task, Tensor]:
    """Check that features [N, D] and targets [N, ...] of one part fit together; return the task and the targets.

    Raises:
        DataError: naming the part, for features that are no matrix or not finite, and targets that are missing, of
            another length, or of no known kind.
    """
    if features.ndim != 2 or 0 in features.shape:
        raise DataError(f"the {part} features are {describe(features)}; they must be [samples, features], not empty")
    if not bool(features.isfinite().all()):
        raise FeaturesNotFiniteError(f"the {part} features hold NaN or infinity; look for a training that diverged")
    if targets is None:
        raise DataError(f"the {part} part has no labels; a probe needs data with labels, such as class folders")
    if len(targets) != len(features):
        raise DataError(f"{len(features)} {part} features do not go with {len(targets)} targets")
    task = task_of(targets)
    if task == "regression" and not bool(targets.isfinite().all()):
        raise DataError(f"the {part} targets hold NaN or infinity; drop or fill them")
    return task, targets


def labeled_only(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the samples that have a target: classes from 0 on, numbers that are not NaN (see `Source`).

    Args:
        x: [N, ...].
        y: targets [N, ...]; None is returned as it is.

    Example:
        >>> import torch
        >>> labeled_only(torch.tensor([[1.0], [2.0]]), torch.tensor([3, -1]))
        (tensor([[1.]]), tensor([3]))
    """
    if y is None or not len(y):
        return x, y
    known = ~y.isnan().reshape(len(y), -1).any(1) if y.is_floating_point() else y.reshape(len(y), -1).amin(1) >= 0
    return (x, y) if bool(known.all()) else (x[known], y[known])


def encode(task: Task, targets: Tensor) -> tuple[Tensor | None, Tensor]:
    """Return the classes, and targets as the solvers take them: 0 to K-1 [N], or floats [N, K]."""
    if task != "classification":
        return None, targets.float().reshape(len(targets), -1)
    classes, members = torch.unique(targets, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"the training labels hold one class only, {int(classes[0])}; a probe needs two or more")
    return classes, members
