"""LFR's linear evaluation: the last epoch is measured, and the best one on the test part is told apart."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from ssl_registry.errors import DataError
from ssl_registry.measures import adam_probe
from ssl_registry.measures.adam_probe import _epochs


def scans():
    """Training and test part of real scans, [N, 64] from 0 to 1."""
    data = load_digits()
    x, y = torch.from_numpy(data.data).float() / 16, torch.from_numpy(data.target)
    return x[:600], y[:600], x[600:1000], y[600:1000]


def test_last_epoch_and_best():
    """It learns; the best epoch is at least as good as the last; labels keep their numbers."""
    x, y, x_test, y_test = scans()
    metrics = adam_probe(x, y + 7, x_test, y_test + 7)
    assert set(metrics) == {"accuracy", "balanced_accuracy", "macro_f1", "auroc", "best_test_epoch"}
    assert 0.7 < metrics["accuracy"] <= metrics["best_test_epoch"]


def test_steps_are_those_of_one_layer_under_adam():
    """The first epoch by hand, from the same weights in the same order."""
    x, y, *_ = scans()
    found = next(iter(_epochs(x, y, "classification", 3, "cpu")))
    torch.manual_seed(3)
    layer = torch.nn.Linear(64, 10)
    optimizer = torch.optim.Adam(layer.parameters(), lr=3e-4, weight_decay=3e-4)
    order = torch.randperm(600, generator=torch.Generator().manual_seed(3))
    for start in range(0, 600, 128):
        rows = order[start : start + 128]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(x[rows]), y[rows]).backward()
        optimizer.step()
    torch.testing.assert_close(found.weight, layer.weight.detach())
    torch.testing.assert_close(found.bias, layer.bias.detach())


def test_global_random_numbers_are_left_alone():
    """A probe in the midst of anything changes nothing there."""
    x, y, *_ = scans()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    next(iter(_epochs(x, y, "classification", 3, "cpu")))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("modality", ["multilabel", "regression"])
def test_other_targets(modality):
    """Several labels and numbers are measured as by the other probes, without a best epoch."""
    x, y, x_test, y_test = scans()
    of = (lambda y: torch.stack([y % 2, y // 5], 1)) if modality == "multilabel" else (lambda y: y / 9)
    metrics = adam_probe(x, of(y), x_test, of(y_test))
    assert "best_test_epoch" not in metrics
    assert ("accuracy" in metrics) == (modality == "multilabel")


def test_one_class():
    """There is nothing to tell it from."""
    x, y, *_ = scans()
    with pytest.raises(DataError, match="one class only"):
        adam_probe(x, 0 * y, x, y)
