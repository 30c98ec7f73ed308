"""The clustering example passes the quick part of the kit, clusters at each epoch's start, and learns."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch.nn import functional as F

from ssl_registry import hookimpl
from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.errors import ConfigError
from ssl_registry.testing import check_method

FIRST = ["construction", "documentation", "gradients", "parameter_groups", "reference", "stopped_gradients"]
REST = ["cuda_placement", "options", "resuming", "views"]


@pytest.fixture
def example(monkeypatch):
    """The module, importable by its name as the kit imports its reference."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    monkeypatch.delitem(sys.modules, "deepcluster", raising=False)
    return import_module("deepcluster")


@pytest.mark.parametrize("checks", [FIRST, pytest.param(REST, marks=pytest.mark.slow)], ids=["first", "rest"])
def test_it_passes_the_quick_kit(example, isolated_registry, checks):
    """Every check that the plugins of this repository run by default, but for one about teachers."""
    isolated_registry.register("deepcluster", example.DeepCluster)
    results = check_method("deepcluster", only=checks, registry=isolated_registry)
    assert {result.check: result.status for result in results} == dict.fromkeys(checks, "passed"), results


def test_k_means_finds_directions(example):
    """Four directions with noise: each centroid is the mean of one of them."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.eye(4).repeat_interleave(50, 0)
    x = F.normalize(directions + 0.05 * torch.randn(200, 4, generator=generator))
    found = min((example.k_means(x, 4, 10, torch.Generator().manual_seed(seed)) for seed in range(9)), key=spread(x))
    assert torch.allclose(found[found.argmax(1).argsort()], F.normalize(x.view(4, 50, 4).sum(1)), atol=1e-5)
    with pytest.raises(ConfigError, match="num_clusters=300 is more than the 200 samples"):
        example.k_means(x, 300, 1, generator)


def spread(x):
    return lambda centroids: float((1 - (x @ centroids.T).amax(1)).sum())


class Watch:
    """Writes down the centroids of each epoch, and how often two views agree on a cluster."""

    def __init__(self):
        self.centroids, self.agreement = [], []

    @hookimpl(wrapper=True)
    def compute_loss(self, model, ctx):
        result = yield
        self.agreement.append(float(result["agreement"]))
        if len(self.centroids) == ctx.epoch:
            self.centroids.append(model.heads["centroids"].weight.clone())
        return result


def test_it_trains_on_clusters_of_its_own(example, isolated_registry, tiny_backbone):
    """On digits, each epoch has other centroids, of length 1, and views come to agree on clusters."""
    isolated_registry.register("deepcluster", example.DeepCluster)
    watch = Watch()
    torch.manual_seed(0)
    model = isolated_registry.create(
        "deepcluster", backbone=tiny_backbone((1, 16, 16)), input_shape=(1, 16, 16), num_clusters=10, seed=0,
        projection_dim=16, learning_rate=0.002, optimizer="adam", observers=[watch],
    )  # fmt: skip
    data = SSLDataModule(open_source("digits"), batch_size=100, seed=0)
    Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    ).fit(model, datamodule=data)  # fmt: skip
    assert len(watch.centroids) == 3
    for before, after in zip(watch.centroids, watch.centroids[1:], strict=False):
        assert (before - after).abs().max() > 0.01
        torch.testing.assert_close(after.norm(dim=1), torch.ones(10))
    batches = len(watch.agreement) // 3
    for epoch in range(3):  # while the centroids rest
        agreed = watch.agreement[epoch * batches : (epoch + 1) * batches]
        assert sum(agreed[-5:]) > 1.2 * sum(agreed[:5]), agreed
