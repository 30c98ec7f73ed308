"""Two short runs on digits, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_registry.workflows.train import TrainResult, train

NETWORK = """
from torch import nn

class Network(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
"""


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "network.py").write_text(NETWORK)
    return folder


def short_run(folder: Path, method: str, **arguments) -> TrainResult:
    """Train two epochs of five steps, with every row logged."""
    return train(
        method,
        backbone=f"{folder / 'network.py'}:Network",
        epochs=2,
        batch_size=256,
        out=folder / method,
        probe_budget=1e9,
        trainer={"accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 1},
        **arguments,
    )


@pytest.fixture(scope="session")
def run(workshop) -> Path:
    return short_run(workshop, "byol", options={"hidden_dim": 32, "projection_dim": 16}).run


@pytest.fixture(scope="session")
def other_run(workshop) -> Path:
    return short_run(workshop, "simclr", options={"projection_dim": 16}, report=False).run
