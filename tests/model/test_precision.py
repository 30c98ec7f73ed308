"""Every precision that Lightning has on a CPU trains with every clipping and optimizer."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import hookimpl, registry

# Lightning takes bf16-mixed for 16-mixed on a CPU, and says so in a warning.
PRECISIONS = ["32-true", "64-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed"]
LIMIT = 1e-3  # far below the gradients of this network


class Gradients:
    """Keeps the gradients that the optimizer's step was made with."""

    @hookimpl
    def on_step_end(self, model):
        self.all = torch.cat([p.grad.flatten().float() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "lars"])
@pytest.mark.parametrize("clipping", [None, "norm", "value"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")
def test_one_step(precision, clipping, optimizer):
    """From 8-bit images: weights move, stay finite, and the gradients are clipped as told."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    seen = Gradients()
    options = {"optimizer": optimizer, "learning_rate": 0.1, "projection_dim": 4}
    model = registry.create("simclr", backbone=backbone, image_size=16, seed=0, observers=[seen], **options)
    before = [p.detach().double() for p in model.parameters()]
    trainer = Trainer(
        max_steps=1,
        accelerator="cpu",
        precision=precision,
        gradient_clip_val=None if clipping is None else LIMIT,
        gradient_clip_algorithm=clipping,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    trainer.fit(model, DataLoader(images, batch_size=8))
    after = [p.detach().double() for p in model.parameters()]
    assert all(bool(p.isfinite().all()) for p in after)
    assert any(not torch.equal(new, old) for new, old in zip(after, before, strict=True))
    if clipping is None:
        assert seen.all.abs().max() > LIMIT
    else:
        reached = seen.all.norm() if clipping == "norm" else seen.all.abs().max()
        assert reached <= LIMIT * 1.01  # bfloat16 rounds in the third digit
