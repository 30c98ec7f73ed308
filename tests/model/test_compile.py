"""Compiled networks: the same training, no graph break, nothing compiled again when epochs or freezing change."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch._dynamo.utils import counters
from torch.utils.data import DataLoader

from ssl_registry import hookimpl, registry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own, while it compiles
    pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


class Graphs:
    """Notes after each step how many graphs there are by then, by epoch."""

    def __init__(self):
        self.by_epoch = {}

    @hookimpl
    def on_step_end(self, ctx):
        self.by_epoch[ctx.epoch] = counters["stats"]["unique_graphs"]


def backbone() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


OPTIONS = {
    "byol": {"hidden_dim": 16, "projection_dim": 8},
    "simclr": {"projection_dim": 8},
    "lfr": {"num_candidates": 4, "num_targets": 2, "projection_dim": 8, "selection_batch_size": 8},
}


def train(method: str, *, compiled: bool, whole: bool = False) -> tuple[nn.Module, Graphs]:
    """Train six epochs of two batches; ``compiled`` by the project's way, ``whole`` by Lightning's."""
    graphs = Graphs()
    # SGD: Adam would scale up what is rounding, such as the gradient of a bias in front of a norm.
    options = {"optimizer": "sgd", "learning_rate": 0.01, **OPTIONS[method]}
    model = registry.create(method, backbone=backbone(), image_size=16, seed=0, observers=[graphs], **options)
    if compiled:
        model.compile_networks()
    images = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    trainer = Trainer(
        max_epochs=6,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(torch.compile(model) if whole else model, DataLoader(images, batch_size=8))
    return model, graphs


@pytest.mark.parametrize("method", list(OPTIONS))
def test_compiled_training_is_the_same(method):
    """Weights as without; every graph whole, and all of them made by the second epoch."""
    torch.compiler.reset()
    counters.clear()
    plain, _ = train(method, compiled=False)
    assert counters["stats"]["unique_graphs"] == 0
    compiled, graphs = train(method, compiled=True)
    assert not counters["graph_break"]
    assert 0 < graphs.by_epoch[1] == graphs.by_epoch[5]
    assert list(compiled.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict(), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("method", ["simclr", "lfr"])
def test_whole_module_compiles(method):
    """torch.compile around the LightningModule, as Lightning offers it, draws the same views and trains the same."""
    torch.compiler.reset()
    plain, _ = train(method, compiled=False)
    compiled, graphs = train(method, compiled=False, whole=True)
    assert graphs.by_epoch[5] > 0
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict(), rtol=1e-2, atol=1e-3)


def test_embedding_is_not_compiled():
    """Features of batches of any size come without a compilation."""
    torch.compiler.reset()
    counters.clear()
    model = registry.create("simclr", backbone=backbone(), image_size=16)
    model.compile_networks()
    assert [len(model.embed(torch.rand(size, 3, 16, 16))) for size in (1, 2, 5)] == [1, 2, 5]
    assert counters["stats"]["unique_graphs"] == 0
