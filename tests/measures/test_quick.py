"""The quick measure of features."""

from __future__ import annotations

import pytest
import torch

from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.samples import Samples
from ssl_registry.measures.quick import quick_probe


@pytest.mark.parametrize(("classes", "count", "has_probe"), [(600, 1200, False), (600, 3000, True), (100, 200, True)])
def test_many_classes_of_few_samples_have_no_linear_probe(classes, count, has_probe):
    """It would take long and mean little; k-NN is measured all the same."""
    y = torch.arange(count) % classes
    x = torch.nn.functional.one_hot(y, classes)[:, :8].float()
    part = Samples(x, y)
    source = Source("table", "table", (8,), part, part, tuple(map(str, range(classes))))
    measured = quick_probe(lambda batch: batch, SSLDataModule(source, batch_size=500), None)
    assert measured.knn > 0
    assert (measured.linear is not None) == has_probe
