"""What a run will cost is told before it is spent, and telling it changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from ssl_registry import train
from ssl_registry._registry import registry
from ssl_registry.checkpoint.io import read_checkpoint
from ssl_registry.data import open_source
from ssl_registry.run_options import RunOptions
from ssl_registry.training.estimate import Estimate, run_length, seconds_a_batch

SMALL = {"image_size": 8, "backbone": "resnet10t", "batch_size": 32, "epochs": 1, "knn": False, "report": False}


def run(folder: Path, **options: object) -> Path:
    given = {**SMALL, "out": folder, "options": {"hidden_dim": 8, "projection_dim": 4}, **options}
    train("simclr", trainer={"accelerator": "cpu", "max_steps": 3, "enable_progress_bar": False}, **given)
    return folder / "checkpoints" / "last.ckpt"


def test_the_estimate_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    """The steps that are tried are those of a copy: weights and optimizer end as without them, bit for bit."""
    with caplog.at_level(logging.INFO, "ssl_registry"):
        tried = read_checkpoint(run(tmp_path / "a", epochs=None)).state_dict
    assert any(message.startswith("about ") and "3 batches of" in message for message in caplog.messages)
    monkeypatch.setattr("ssl_registry.workflows.train.seconds_a_batch", lambda *_: None)
    plain = read_checkpoint(run(tmp_path / "b", epochs=None)).state_dict
    assert tried.keys() == plain.keys()
    assert all(torch.equal(tried[name], plain[name]) for name in plain)


def test_a_run_that_fails_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong while it is estimated is raised where the run itself meets it."""
    model, source = registry.create("simclr", backbone="resnet10t", image_size=8, in_chans=1), open_source("digits")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of the method")

    monkeypatch.setattr(type(model), "training_step", broken)
    assert seconds_a_batch(model, source, RunOptions(batch_size=8), {}) is None
    with pytest.raises(RuntimeError, match="a fault of the method"):
        run(tmp_path / "a", epochs=None)


@pytest.mark.parametrize(
    ("run", "trainer", "processes", "expected"),
    [
        ({"epochs": 3, "batch_size": 32}, {}, 1, 93),
        ({"epochs": 3, "batch_size": 32}, {}, 2, 45),
        ({"epochs": 3, "batch_size": 8, "large_batch": 32}, {}, 1, 93),
        ({"batch_size": 32}, {"max_steps": 50, "accumulate_grad_batches": 4}, 1, 200),
        ({"epochs": 3, "batch_size": 32}, {"max_steps": 50}, 1, 50),
        ({"batch_size": 32}, {"max_epochs": 2}, 1, 62),
        ({"batch_size": 32}, {"max_time": "00:00:10:00"}, 1, None),
        ({"epochs": 2, "batch_size": 4096}, {}, 1, 2),
    ],
)
def test_batches_of_a_run(run: dict, trainer: dict, processes: int, expected: int | None) -> None:
    """The nearest limit counts; where time alone limits there is none."""
    assert run_length(1000, RunOptions(**run), trainer, processes=processes) == expected


def test_a_long_run_on_a_cpu_says_what_is_shorter() -> None:
    """On an accelerator it is the user's own affair."""
    assert "an hour would be --trainer.max_steps 720" in str(Estimate(5.0, 10_000, 0, on_cpu=True))
    assert "an hour" not in str(Estimate(5.0, 10_000, 0, on_cpu=False))
    assert "an hour" not in str(Estimate(5.0, 600, 0, on_cpu=True))
    assert "ten minutes would be --trainer.max_steps 120" in str(Estimate(5.0, 600, 0, on_cpu=True))
    assert "would be" not in str(Estimate(5.0, 100, 0, on_cpu=True))
