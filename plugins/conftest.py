"""Fixtures for methods' tests: a small network and a short training on real digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from ssl_registry import Context, Registry, SSLModule, hookimpl
from ssl_registry.data import SSLDataModule, open_source

# Of a method's conformance kit, what runs by default: the checks of seconds that catch most. The others are slow.
QUICK = {
    "construction",
    "cuda_placement",
    "documentation",
    "following",
    "gradients",
    "parameter_groups",
    "reference",
    "resuming",
    "stopped_gradients",
    "views",
}
# Loops in float64 over several heads; their equations are tested one by one beside it.
LONG_REFERENCES = ("plugins/dinov2/", "plugins/ibot/")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow part of each kit."""
    for item in items:
        if getattr(item, "originalname", "").startswith("test_conformance"):
            check = item.callspec.id.rpartition("-")[2]  # type: ignore[attr-defined]  # of a function with parameters
            is_long = check == "reference" and item.nodeid.startswith(LONG_REFERENCES)
            if check not in QUICK or is_long:
                item.add_marker(pytest.mark.slow)


def tiny() -> nn.Module:
    """A network for digits whose weights are always the same."""
    torch.manual_seed(3)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
    )


@pytest.fixture
def ctx() -> Context:
    """What a hook is told outside of a training."""
    generator = torch.Generator()
    return Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)


class Losses:
    """An observer that writes down the loss of every batch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    @hookimpl(wrapper=True)
    def compute_loss(self) -> Any:
        """Look at what the method returns."""
        result = yield
        self.values.append((result["loss"] if isinstance(result, dict) else result).item())
        return result


@pytest.fixture
def make() -> Callable[..., SSLModule]:
    """Build a method's class on the small network, or on another backbone, with options."""

    def make(cls: type[Any], **options: Any) -> SSLModule:
        registry = Registry(entry_points=False)
        registry.register("example", cls)
        defaults = {"backbone": tiny(), "input_shape": (1, 16, 16), "seed": 7}
        return registry.create("example", **defaults | options)

    return make


@pytest.fixture
def fit() -> Callable[..., Trainer]:
    """Train a model on scikit-learn's digits; arguments go to Lightning's Trainer."""

    def fit(model: SSLModule, *, checkpoint: object = None, batch_size: int = 64, **arguments: Any) -> Trainer:
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **{"enable_checkpointing": False, "limit_val_batches": 0} | arguments,
        )
        data = SSLDataModule(open_source("digits"), batch_size=batch_size, seed=1)
        trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        return trainer

    return fit


@pytest.fixture
def learns(make: Callable[..., SSLModule], fit: Callable[..., Trainer]) -> Callable[..., SSLModule]:
    """Assert that training leaves at most a share of the loss of a network that stays as it is, on the same views."""

    def learns(cls: type[Any], *, rate: float, left: float, **options: Any) -> SSLModule:
        ends = []
        for learning_rate in (1e-12, rate):
            losses = Losses()
            model = make(cls, observers=[losses], optimizer="adamw", learning_rate=learning_rate, **options)
            fit(model, max_steps=60)
            ends.append(sum(losses.values[-20:]) / 20)
        assert ends[1] < left * ends[0], f"loss {ends[1]:.3f} after training, {ends[0]:.3f} without"
        return model

    return learns


@pytest.fixture
def resumes(make: Callable[..., SSLModule], fit: Callable[..., Trainer], tmp_path: Any) -> Callable[..., None]:
    """Assert that going on from any step's checkpoint ends where never having stopped ends, bit for bit."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    def resumes(cls: type[Any], **options: Any) -> None:
        limits = {"max_epochs": 2, "limit_train_batches": 4, "accumulate_grad_batches": 2}
        save = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False)
        whole = make(cls, **options)
        fit(whole, **limits, callbacks=[save], enable_checkpointing=True)
        checkpoints = sorted(tmp_path.glob("*.ckpt"))
        assert len(checkpoints) == 4
        for checkpoint in checkpoints:
            again = make(cls, **options)
            fit(again, checkpoint=checkpoint, **limits)
            for key, value in whole.state_dict().items():
                assert torch.equal(value, again.state_dict()[key]), f"{key} differs, resumed from {checkpoint.stem}"

    return resumes
