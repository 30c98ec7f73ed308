"""A step never waits for the device: no value of a tensor is read on the way."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_registry import registry
from ssl_registry.model.optimizers import build_optimizer, default_param_groups

OPTIONS = {
    "byol": {"hidden_dim": 16, "projection_dim": 8},
    "simclr": {"projection_dim": 8},
    "lfr": {"num_candidates": 4, "num_targets": 2, "projection_dim": 8, "max_backbone_training_steps": 9},
}


class Reads(TorchDispatchMode):
    """Counts `.item()`, `bool()` and their like; on CUDA each waits for the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_reads_are_seen():
    """The counter counts."""
    with Reads() as reads:
        bool(torch.ones(()) > 0)
    assert reads.count == 1


@pytest.mark.parametrize("method", list(OPTIONS))
def test_step_reads_nothing(method):
    """Loss, gradient, optimizer and what follows a step, from the second step on."""
    backbone = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))
    model = registry.create(method, backbone=backbone, input_shape=(5,), seed=0, **OPTIONS[method]).train()
    optimizer = build_optimizer(default_param_groups([model.backbone, model.heads]), model.config)
    views = [torch.randn(8, 5) for _ in range(model.view_policy.num_views)]

    def step() -> None:
        ctx = model._context(0)
        optimizer.zero_grad()
        model.hook.compute_loss(model=model, views=views, ctx=ctx).backward()
        optimizer.step()
        ctx = model._context(0, steps_more=1)
        model.hook.on_step_end(model=model, ctx=ctx)
        model.hook.should_stop(model=model, ctx=ctx)

    step()
    with Reads() as reads:
        step()
    assert reads.count == 0
