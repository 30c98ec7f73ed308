"""A tiny network on the real digits: an epoch takes half a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from torch import nn

from ssl_registry import Registry, SSLModule
from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.run_options import RunOptions
from ssl_registry.training.building import build_model

HEADS = {
    "byol": {"hidden_dim": 64, "projection_dim": 32},
    "simclr": {"projection_dim": 16},
    "lfr": {"num_candidates": 4, "num_targets": 2},
    "moco": {"hidden_dim": 32, "projection_dim": 16, "queue_size": 128},  # collects keys for its queue
}

NETWORK = """
from torch import nn

class Network(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
"""


@pytest.fixture
def source():
    return open_source("digits")


@pytest.fixture
def network(tmp_path) -> str:
    """The name of a backbone of one's own."""
    (tmp_path / "network.py").write_text(NETWORK)
    return f"{tmp_path / 'network.py'}:Network"


@pytest.fixture
def fit(network, source) -> Callable[..., tuple[SSLModule, Trainer]]:
    """Train a method for some steps of 64 digits, 20 an epoch, under callbacks."""

    def run(
        method: str,
        *callbacks: Any,
        steps: int = 60,
        seed: int = 0,
        trainer: dict[str, Any] | None = None,
        checkpoint: Path | None = None,
        **options,
    ):
        settings = RunOptions(backbone=network, seed=seed)
        model = build_model(method, source, settings, options=HEADS[method] | options, registry=Registry())
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        arguments = quiet | (trainer or {})
        lightning = Trainer(
            max_steps=steps,
            accelerator="cpu",
            enable_model_summary=False,
            limit_val_batches=0,
            callbacks=list(callbacks),
            **arguments,
        )
        data = SSLDataModule(source, batch_size=64, seed=seed)
        lightning.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        return model, lightning

    return run


class Rows(Logger):
    """A logger that keeps its rows: (step, values)."""

    name, version = "rows", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, metrics))

    def log_hyperparams(self, *arguments: Any) -> None:
        """Lightning calls it; there is nothing to keep."""

    def named(self, name: str) -> list[tuple[int, float]]:
        return [(step, values[name]) for step, values in self.rows if name in values]


@pytest.fixture
def rows() -> Rows:
    return Rows()


class Constant(nn.Module):
    """A head that ignores its input."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.linspace(-1, 1, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(x), -1)


@pytest.fixture
def constant_head() -> nn.Module:
    return Constant()
