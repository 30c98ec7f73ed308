"""Every method on every kind of backbone and input: one real step, finite and with gradients where they belong."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import hookimpl, registry

METHODS = ["byol", "simclr", "lfr"]
# Small heads: the subject here is what is in front of them.
SMALL = {
    "byol": {"hidden_dim": 32, "projection_dim": 16},
    "simclr": {"projection_dim": 16},
    "lfr": {"num_candidates": 3, "num_targets": 2, "projection_dim": 16, "training": "joint"},
}


class Signals(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(9, 8, 5, stride=2), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 12, 3))

    def forward(self, x):
        return self.net(x)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 3, padding=1)

    def forward(self, x):
        return OrderedDict(out=self.conv(x), aux=x)


def quiet_trainer(**arguments):
    return Trainer(
        **arguments,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def one_step(model, data):
    trainer = quiet_trainer(max_steps=1)
    before = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
    trainer.fit(model, DataLoader(data, batch_size=4))
    loss = trainer.callback_metrics["train_loss"]
    assert torch.isfinite(loss)
    moved = [name for name, p in model.backbone.named_parameters() if not torch.equal(before[name], p)]
    assert moved, "the step did not move the backbone"
    assert all(torch.isfinite(p).all() for p in model.parameters())


# One of each family and each number of channels in the default run, every combination in the long one.
TIMM = ["resnet18", "resnet50", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050", "efficientnet_b0"]
CHANNELS = [1, 3, 13]
COMBINED = [
    pytest.param(name, channels, marks=[] if place % 3 == number else pytest.mark.slow)
    for place, name in enumerate(TIMM)
    for number, channels in enumerate(CHANNELS)
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("backbone", "in_chans"), COMBINED)
def test_trains_a_step_on_timm_backbones(method, backbone, in_chans):
    """A name, a size and a number of channels are all it takes."""
    model = registry.create(method, backbone=backbone, image_size=32, in_chans=in_chans, seed=0, **SMALL[method])
    one_step(model, torch.rand(4, in_chans, 32, 32, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("backbone", "shape"),
    [
        (Signals, (9, 64)),
        (lambda: nn.Sequential(nn.Linear(14, 16), nn.ReLU(), nn.Linear(16, 8)), (14,)),
        (Dense, (3, 16, 16)),
    ],
    ids=["signal", "table", "dense"],
)
def test_trains_a_step_on_own_backbones(method, backbone, shape):
    """A 1-D network, a table's MLP and a dense network that returns an OrderedDict."""
    torch.manual_seed(0)
    model = registry.create(method, backbone=backbone(), input_shape=shape, seed=0, **SMALL[method])
    one_step(model, torch.rand(4, *shape))


@pytest.mark.parametrize("method", METHODS)
def test_default_model_configures_its_optimizer(method):
    """Defaults alone train: no argument is needed but the data."""
    model = registry.create(method, backbone="table_encoder", input_shape=(6,))
    one_step(model, torch.rand(4, 6))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_low_precision_is_finite(method, precision):
    """bf16 trains a step with a finite loss."""
    # The stem for photographs makes a step nine times as fast.
    network = {"backbone": "resnet18", "image_size": 32, "low_resolution": False}
    model = registry.create(method, **network, seed=0, **SMALL[method])
    trainer = quiet_trainer(max_steps=2, precision=precision)
    trainer.fit(model, DataLoader(torch.rand(8, 3, 32, 32), batch_size=4))
    assert torch.isfinite(trainer.callback_metrics["train_loss"])
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_embeds_one_image(method):
    """One uint8 image gives one vector."""
    model = registry.create(method, backbone="resnet18", image_size=32, **SMALL[method])
    assert model.embed(torch.zeros(3, 32, 32, dtype=torch.uint8)).shape == (512,)


class Watcher:
    """An observer that keeps the views of a step."""

    @hookimpl(wrapper=True)
    def compute_loss(self, views):
        self.views = views
        return (yield)


def test_mixed_precision_leaves_views_alone():
    """Views are drawn in float32 whatever the networks compute in."""
    seen = []
    images = torch.randint(0, 256, (4, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for precision in ("32-true", "bf16-mixed"):
        watcher = Watcher()
        network = {"backbone": "resnet18", "image_size": 32, "low_resolution": False}
        model = registry.create("simclr", **network, seed=0, observers=[watcher])
        quiet_trainer(max_steps=1, precision=precision).fit(model, DataLoader(images, batch_size=4))
        seen.append(watcher.views)
    assert all(torch.equal(*pair) for pair in zip(*seen, strict=True))
