"""The linear probe: scikit-learn's coefficients, whichever solver; every task; what cannot be probed is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from ssl_registry.errors import ConfigError, DataError
from ssl_registry.measures import linear_probe
from ssl_registry.measures.probe import _sweep
from ssl_registry.measures.solvers import _by_lbfgs, _by_sklearn


def blobs(classes, *, samples=300, width=6, seed=0):
    """Overlapping groups, so that the optimum is finite."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, samples)
    x = rng.normal(size=(classes, width))[y] + rng.normal(size=(samples, width)) * 1.5 + 3
    return torch.from_numpy(x).float(), torch.from_numpy(y)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_coefficients_are_scikit_learns(classes, strength):
    """Standardised by hand and given to scikit-learn, features get the same map; two classes have one logit."""
    x, y = blobs(classes)
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(scaler.transform(x), y)
    probe = linear_probe(x, y, x, y, candidates=[strength])
    weight = model.coef_ / scaler.scale_
    bias = model.intercept_ - weight @ scaler.mean_
    if classes == 2:
        assert torch.equal(probe.weight[0], torch.zeros(6))
        weight, bias = np.vstack([0 * weight, weight]), np.append(0, bias)
    assert np.allclose(probe.weight, weight, atol=2e-3)
    assert np.allclose(probe.scores, model.predict_proba(scaler.transform(x)), atol=2e-3)
    assert np.allclose(probe.bias, bias, atol=1e-2)


@pytest.mark.parametrize(("classes", "dtype"), [(4, torch.float64), (3, torch.float32)])
def test_lbfgs_reaches_the_same_optimum(classes, dtype):
    """What runs on a GPU minimises scikit-learn's objective, checked here on the CPU."""
    x, y = blobs(classes)
    x = (x - x.mean(0)).to(dtype)
    for ours, theirs in zip(_by_lbfgs(x, y, (0.01, 1.0), "cpu"), _by_sklearn(x, y, (0.01, 1.0), "cpu"), strict=True):
        assert torch.allclose(ours.weight, theirs.weight.to(dtype), atol=2e-3)
        # A softmax leaves the biases' common part open.
        assert torch.allclose(ours.bias - ours.bias.mean(), (theirs.bias - theirs.bias.mean()).to(dtype), atol=2e-3)


def test_lbfgs_fits_labels_apart():
    """Several labels at once are as many logistic regressions."""
    x, y = blobs(3)
    labels = torch.stack([y == 0, y > 0], 1).float()
    (ours,), (theirs,) = (solve(x - x.mean(0), labels, (0.1,), "cpu") for solve in (_by_lbfgs, _by_sklearn))
    assert torch.allclose(ours.weight, theirs.weight, atol=2e-3)
    assert torch.allclose(ours.bias, theirs.bias, atol=2e-3)


def test_sweep_chooses_on_the_validation_part():
    """With few samples and many noisy features the strongest penalty of two wins."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 2
    x = torch.randn(60, 200, generator=generator) + 0.25 * y[:, None]
    probe = linear_probe(x, y, x, y, candidates=[1e-4, 1e4], seed=1)
    assert probe.chosen == max(probe.validation, key=probe.validation.get)
    assert set(probe.validation) == {1e-4, 1e4}


def test_sweep_ends_behind_the_best():
    """Two in a row that are worse end it; an equal one does not count as worse."""
    asked = iter([0.5, 0.7, 0.7, 0.6, 0.6, 0.9])
    assert _sweep((1, 2, 3, 4, 5, 6), asked) == {1: 0.5, 2: 0.7, 3: 0.7, 4: 0.6, 5: 0.6}
    assert next(asked) == 0.9


def test_predictions_keep_the_labels_numbers():
    """Classes are named as they were given, and columns are theirs in order."""
    x, y = torch.eye(3).repeat(5, 1), torch.tensor([7, 2, 100]).repeat(5)
    probe = linear_probe(x, y, x, y)
    assert torch.equal(probe.predictions, y)
    assert probe.classes.tolist() == [2, 7, 100]
    assert probe.metrics == {"accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0, "auroc": 1.0}


def test_constant_features_do_no_harm():
    """A dead unit has no spread to divide by."""
    x, y = blobs(2)
    dead = torch.cat([x, torch.full((len(x), 1), 1e6)], 1)
    assert linear_probe(dead, y, dead, y).metrics == linear_probe(x, y, x, y).metrics


def test_sgd_protocol_on_digits():
    """The papers' protocol finds a learning rate and gets near the logistic regression on real scans."""
    scans = load_digits()
    x, y = torch.from_numpy(scans.data).float(), torch.from_numpy(scans.target)
    parts = (x[:1300], y[:1300], x[1300:], y[1300:])
    sgd, logistic = linear_probe(*parts, protocol="sgd"), linear_probe(*parts, candidates=[0.1])
    assert sgd.metrics["accuracy"] > 0.88
    assert logistic.metrics["accuracy"] > 0.9
    again = linear_probe(*parts, protocol="sgd", candidates=[sgd.chosen])
    assert torch.allclose(again.scores, sgd.scores, atol=1e-4)


@pytest.mark.parametrize("protocol", ["logistic", "sgd"])
def test_several_labels(protocol):
    """Each label is found by itself; one that always holds is predicted to hold."""
    x, y = blobs(3)
    labels = torch.stack([y == 0, y == 2, y >= 0], 1).long()
    probe = linear_probe(x, labels, x, labels, protocol=protocol)
    assert probe.task == "multilabel"
    assert probe.predictions.shape == labels.shape
    assert probe.metrics["accuracy"] > 0.8
    assert bool(probe.predictions[:, 2].all())


@pytest.mark.parametrize("shape", [(), (2,)])
def test_numbers(shape):
    """Ridge regression, with scikit-learn's coefficients; far from zero and of any scale."""
    x, _ = blobs(3)
    target = (1e4 + 300 * (x[:, 0] - x[:, 1])).reshape(-1, *([1] * len(shape))).repeat(1, *shape).float()
    probe = linear_probe(x, target, x, target, candidates=[1.0])
    scaler = StandardScaler().fit(x)
    expected = Ridge(alpha=1.0).fit(scaler.transform(x), target)
    assert np.allclose(
        probe.weight, np.reshape(expected.coef_ / scaler.scale_, probe.weight.shape), rtol=1e-3, atol=0.1
    )
    assert probe.predictions.shape == target.shape
    assert probe.metrics["r2"] > 0.999
    assert linear_probe(x, target, x, target, protocol="sgd").metrics["r2"] > 0.99


X, Y = blobs(2, samples=20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_targets": None}, "training part has no labels"),
        ({"test_targets": None}, "test part has no labels"),
        ({"train_targets": Y * 0 + 3}, "one class only, 3"),
        ({"train_targets": Y[:5]}, "20 training features do not go with 5 targets"),
        ({"test_targets": Y.float()}, "training targets are classification .* test ones regression"),
        ({"train_features": X * float("nan")}, "training features hold NaN"),
        ({"test_features": X[:, :2]}, "width 6, the test ones 2"),
        ({"train_features": X[0]}, r"must be \[samples, features\]"),
        ({"train_targets": Y.reshape(4, 5, 1)}, "do not go with"),
        ({"train_targets": torch.full((20, 2), 5)}, "accepted: classes as whole numbers"),
        ({"train_targets": X[:, 0] * float("inf"), "test_targets": X[:, 0]}, "targets hold NaN or infinity"),
    ],
)
def test_what_cannot_be_probed(change, message):
    """One line says what is wrong with which part."""
    arguments = {"train_features": X, "train_targets": Y, "test_features": X, "test_targets": Y} | change
    with pytest.raises(DataError, match=message):
        linear_probe(**arguments)


@pytest.mark.parametrize("option", [{"protocol": "svm"}, {"candidates": [0.0]}])
def test_wrong_options(option):
    """An option out of range is named."""
    with pytest.raises(ConfigError, match=next(iter(option))):
        linear_probe(X, Y, X, Y, **option)


def test_two_labels_of_each_class_are_no_constant():
    """A validation part of two samples would take the strongest penalty, which says one class of all."""
    x, y = blobs(2, width=2)
    x = x + 4 * y[:, None]
    few = torch.cat([(y == label).nonzero()[:2, 0] for label in (0, 1)])
    result = linear_probe(x[few], y[few], x, y)
    assert (result.chosen, result.validation) == (1.0, {})
    assert result.metrics["accuracy"] > 0.8
