"""Linear maps fitted to features: by scikit-learn on a CPU, by full-batch L-BFGS on a GPU, by SGD as in the papers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

__all__ = ["Linear", "fit_logistic", "fit_ridge", "fit_sgd", "losses"]

MAX_ITERATIONS = 300
SGD_EPOCHS, SGD_BATCH, SGD_MOMENTUM = 80, 1024, 0.9


class Linear(NamedTuple):
    """Outputs are ``x @ weight.T + bias``: logits, one a class or label, or numbers."""

    weight: Tensor  # [K, D]
    bias: Tensor  # [K]


def fit_logistic(x: Tensor, y: Tensor, strengths: Sequence[float], *, device: torch.device | str) -> Iterator[Linear]:
    """Fit logistic regressions with an L2 penalty, one for each inverse strength C, when it is asked for.

    The objective is scikit-learn's: C times the sum of the samples' losses plus half the squared weights, without the
    bias. Two classes have one logit, as there.

    Args:
        x: [N, D].
        y: classes 0 to K-1 [N], or labels [N, L] as 0.0 and 1.0, each fitted by itself.
        strengths: C, ascending: each fit begins where the last one ended.
        device: a CPU takes scikit-learn, which is twice as fast there, a GPU L-BFGS.
    """
    solve = _by_sklearn if torch.device(device).type == "cpu" else _by_lbfgs
    if y.ndim == 1 and int(y.max()) > 1:
        yield from solve(x, y, strengths, device)
        return
    for weight, bias in solve(x, y.float().reshape(len(y), -1), strengths, device):
        if y.ndim == 2:
            yield Linear(weight, bias)
        else:  # two classes: the logit of the second one against zero for the first
            yield Linear(torch.cat([0 * weight, weight]), torch.cat([0 * bias, bias]))


def _by_sklearn(x: Tensor, y: Tensor, strengths: Sequence[float], device: torch.device | str) -> Iterator[Linear]:
    if y.ndim == 1:
        yield from _sklearn_path(x, y, strengths)
        return
    for fits in zip(*(_sklearn_path(x, column, strengths) for column in y.T), strict=True):
        yield Linear(*(torch.cat(parts) for parts in zip(*fits, strict=True)))


def _sklearn_path(x: Tensor, y: Tensor, strengths: Sequence[float]) -> Iterator[Linear]:
    """Fit from the strongest penalty to the weakest, each from where the last one ended."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if bool((y == y[0]).all()):  # a label that always or never holds
        always = math.copysign(20.0, float(y[0]) - 0.5)
        yield from (Linear(x.new_zeros(1, x.shape[1]), x.new_full((1,), always)) for _ in strengths)
        return
    model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=len(strengths) > 1)
    for strength in strengths:
        with warnings.catch_warnings():
            # With next to no penalty, separable classes have no optimum to converge to; the fit is good all the same.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=strength).fit(x.cpu().numpy(), y.cpu().numpy())
        yield Linear(*(torch.from_numpy(part.copy()).to(x) for part in (model.coef_, model.intercept_)))


def _by_lbfgs(x: Tensor, y: Tensor, strengths: Sequence[float], device: torch.device | str) -> Iterator[Linear]:
    inputs, targets = x.to(device), y.to(device)
    loss, outputs = _loss(targets)
    for strength in strengths:
        weight = inputs.new_zeros(outputs, x.shape[1], requires_grad=True)
        bias = inputs.new_zeros(outputs, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=MAX_ITERATIONS,
            history_size=10,
            tolerance_grad=1e-6,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def objective(
            weight: Tensor = weight,
            bias: Tensor = bias,
            optimizer: torch.optim.LBFGS = optimizer,
            penalty: float = 0.5 / (strength * len(x)),
        ) -> Tensor:
            optimizer.zero_grad()
            total = loss(inputs @ weight.T + bias, targets) + penalty * weight.square().sum()
            total.backward()  # type: ignore[no-untyped-call]  # torch's own
            return total

        optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch's own
        yield Linear(weight.detach().to(x), bias.detach().to(x))


def _loss(y: Tensor) -> tuple[Callable[[Tensor, Tensor], Tensor], int]:
    """Return the mean over samples of their loss, and how many outputs it takes."""
    if y.ndim == 1:
        return cross_entropy, int(y.max()) + 1
    labels = y.shape[1]
    return lambda outputs, targets: labels * binary_cross_entropy_with_logits(outputs, targets), labels


def fit_ridge(x: Tensor, y: Tensor, strength: float) -> Linear:
    """Fit numbers [N, T] by least squares with an L2 penalty of ``1 / strength``."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1 / strength).fit(x.cpu().numpy(), y.cpu().numpy())
    weight, bias = (torch.as_tensor(part).to(x) for part in (model.coef_, model.intercept_))
    return Linear(weight.reshape(y.shape[1], -1), bias.reshape(-1))


def fit_sgd(
    x: Tensor, y: Tensor, task: str, rates: Sequence[float], *, seed: int, device: torch.device | str
) -> list[Linear]:
    """Train one linear layer for each learning rate, all at once on the same batches.

    Args:
        x: [N, D].
        y: as for `fit_logistic`, or numbers [N, T].
        task: decides the loss.
        rates: for batches of 1,024; smaller ones are scaled down in proportion.
        seed: of the order.
        device: where it is trained.
    """
    inputs, targets = x.to(device), y.to(device)
    outputs = int(y.max()) + 1 if y.ndim == 1 else y.shape[1]
    batch = min(SGD_BATCH, len(x))
    weight = inputs.new_zeros(len(rates), outputs, x.shape[1], requires_grad=True)
    bias = inputs.new_zeros(len(rates), 1, outputs, requires_grad=True)
    # Each layer's gradient is its own: its rate is a factor on its share of the summed loss.
    scale = inputs.new_tensor(rates) * batch / SGD_BATCH
    optimizer = torch.optim.SGD([weight, bias], lr=1.0, momentum=SGD_MOMENTUM, nesterov=True)
    steps = SGD_EPOCHS * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        if step % (len(x) // batch) == 0:
            order = torch.randperm(len(x), generator=generator).to(inputs.device)
        start = step % (len(x) // batch) * batch
        rows = order[start : start + batch]
        out = inputs[rows] @ weight.transpose(1, 2) + bias  # [rates, batch, K]
        each = losses(out, targets[rows], task)
        optimizer.zero_grad()
        (each * scale).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        schedule.step()
    return [Linear(w.detach().to(x), b.detach()[0].to(x)) for w, b in zip(weight, bias, strict=True)]


def losses(out: Tensor, targets: Tensor, task: str) -> Tensor:
    """Return the mean loss of each layer [rates] from outputs [rates, batch, K]."""
    wanted = targets.expand(len(out), *targets.shape)
    if task == "classification":
        return cross_entropy(out.flatten(0, 1), wanted.flatten(), reduction="none").view(len(out), -1).mean(1)
    if task == "multilabel":
        return binary_cross_entropy_with_logits(out, wanted, reduction="none").mean((1, 2))
    return (out - wanted).square().mean((1, 2)) / 2
