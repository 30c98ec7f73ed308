"""A folder as people have them trains to the end, and tells what in it was no image."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from logged import logged
from PIL import Image

from ssl_registry._registry import Registry
from ssl_registry.workflows.train import train

pytestmark = [
    # Python 3.12 warns of every fork of a process with threads, and torch has threads.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]


NET = """
from torch import nn

def net():
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of good, strange and broken images."""
    root = tmp_path / "photos"
    root.mkdir()
    random = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(random.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(root / f"good{number}.jpg")
    whole = (root / "good0.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "cut-early.jpg").write_bytes(whole[:20])
    (root / "empty.jpg").touch()
    (root / "text.jpg").write_text("no image")
    Image.new("CMYK", (9, 9), (10, 20, 30, 40)).save(root / "cmyk.jpg")
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(root / "deep.png")
    Image.new("RGB", (1, 1), (1, 2, 3)).save(root / "dot.png")
    frames = [Image.new("P", (9, 9), index) for index in range(3)]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:])
    (root / "loop").symlink_to(root)
    return root


@pytest.fixture
def fit(spread: type) -> Callable[..., Any]:
    """Train a small method on a folder."""
    registry = Registry()
    registry.register("spread")(spread)

    def fitted(folder: Path, out: Path, **options: Any) -> Any:
        (out.parent / "net.py").write_text(NET)
        return train(
            "spread",
            data=str(folder),
            backbone=f"{out.parent / 'net.py'}:net",
            image_size=8,
            batch_size=4,
            out=out,
            registry=registry,
            trainer={"accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 1},
            **options,
        )

    return fitted


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_of_everything(fit: Callable[..., Any], folder: Path, tmp_path: Path, workers: int) -> None:
    """Four files are no images: they are named with the reason, counted, and never end an epoch."""
    with logged() as said:
        result = fit(folder, tmp_path / "run", epochs=3, workers=workers)
    assert result.steps == 3 * 4
    lines = [line.split("\t") for line in (result.run / "broken.txt").read_text().splitlines()]
    assert sorted(Path(name).name for name, _ in lines) == ["cut-early.jpg", "cut.jpg", "empty.jpg", "text.jpg"]
    assert all(why for _, why in lines)
    assert not any("Error" in why or " object at 0x" in why for _, why in lines)
    assert any(
        line.startswith(f"4 images could not be read and others took their places: first {folder}") for line in said
    )
    assert any("loop' (leads back to a folder above it: not followed)" in line for line in said)


def test_resuming_adds_to_the_file(fit: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    """What a first run found stays, and nothing is named twice."""
    first = fit(folder, tmp_path / "run", epochs=2, workers=0)
    before = (first.run / "broken.txt").read_text()
    (folder / "good3.jpg").write_bytes(b"broken meanwhile")
    fit(folder, tmp_path / "run", epochs=4, workers=0, resume=True)
    after = (first.run / "broken.txt").read_text()
    assert after.startswith(before)
    assert [Path(line.split("\t")[0]).name for line in after[len(before) :].splitlines()] == ["good3.jpg"]


def test_a_resumed_run_sees_the_same(fit: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    """Broken images change nothing of it: the same weights as never having stopped."""
    whole = fit(folder, tmp_path / "whole", epochs=2, workers=0)
    fit(folder, tmp_path / "halves", epochs=1, workers=0)
    halves = fit(folder, tmp_path / "halves", epochs=2, workers=0, resume=True)
    for one, other in zip(whole.model.parameters(), halves.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_workers_change_nothing(fit: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    """The same samples, views and weights, whoever loads them."""
    runs = [fit(folder, tmp_path / f"run{n}", epochs=2, workers=n) for n in (0, 1, 3)]
    weights = [torch.cat([p.flatten() for p in run.model.parameters()]) for run in runs]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


def test_nothing_broken_writes_nothing(fit: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    """A run over good images has no such file; the share of waiting for data is in its metrics."""
    for path in folder.iterdir():
        if not path.name.startswith("good"):
            path.unlink()
    with logged() as said:
        result = fit(folder, tmp_path / "run", epochs=1, workers=0)
    assert not (result.run / "broken.txt").exists()
    assert not any("could not be read" in line for line in said)
    with next((result.run / "metrics").rglob("metrics.csv")).open() as file:
        waits = [float(row["data_wait"]) for row in csv.DictReader(file) if row["data_wait"]]
    assert waits
    assert all(0 <= wait <= 1 for wait in waits)
