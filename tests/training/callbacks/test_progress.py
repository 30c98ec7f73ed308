"""The bar counts epochs from 1, and names a last one where there is one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from ssl_registry.runs.folder import Run
from ssl_registry.training.callbacks.pace import Pace, resting_parts
from ssl_registry.training.callbacks.progress import Progress
from ssl_registry.training.trainer import make_trainer


class Seen(Progress):
    """Keeps what the bar would show."""

    def __init__(self):
        super().__init__()
        self.texts, self.metrics = [], {}

    def on_train_epoch_start(self, trainer, pl_module):
        self.texts.append(self._get_train_description(trainer.current_epoch))

    def on_train_end(self, trainer, pl_module):
        self.metrics = self.get_metrics(trainer, pl_module)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({"max_epochs": 2}, ["Epoch 1/2", "Epoch 2/2"]), ({"max_epochs": -1}, ["Epoch 1", "Epoch 2"])],
)
def test_epochs_are_counted_from_one(fit, limits, expected):
    """With the last one, unless steps limit the run."""
    seen = Seen()
    fit("simclr", Pace(estimate=False), seen, steps=40, trainer=limits | {"enable_progress_bar": True})
    assert [text.strip() for text in seen.texts] == expected
    assert "v_num" not in seen.metrics
    assert float(seen.metrics["samples/s"].replace(",", "")) > 0


def test_what_rests_is_named(fit, caplog):
    """LFR trains backbone and predictors by turns: bar and lines say which part is frozen now."""
    model, _ = fit("simclr", steps=1)
    assert resting_parts(model) == ""
    model._frozen.hold({"backbone", "projection_head.0"}, model.backbone, model.heads, owner="simclr")
    assert resting_parts(model) == "backbone"
    pace = Pace(estimate=False)
    trainer = make_trainer({"logger": False, "accelerator": "cpu", "max_epochs": 2}, Run(Path("nowhere")))
    with caplog.at_level(logging.INFO, "ssl_registry"):
        pace._line(trainer, model)
    assert caplog.messages[-1] == "epoch 1/2, step 0, frozen: backbone"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, Progress),
        ({"enable_progress_bar": False}, type(None)),
        ({"callbacks": [TQDMProgressBar()]}, TQDMProgressBar),
    ],
)
def test_a_run_has_one_bar(arguments, expected, tmp_path, monkeypatch):
    """Ours, the user's, or none, in a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    trainer = make_trainer({"logger": False, "accelerator": "cpu", **arguments}, Run(tmp_path))
    assert type(trainer.progress_bar_callback) is expected


def test_lines_stand_where_there_is_no_terminal(tmp_path, fit, caplog):
    """One an epoch, and none where the user wants no bar."""
    trainer = make_trainer({"logger": False, "accelerator": "cpu"}, Run(tmp_path))
    (pace,) = (one for one in trainer.callbacks if isinstance(one, Pace))
    assert trainer.progress_bar_callback is None
    assert pace.lines
    with caplog.at_level(logging.INFO, "ssl_registry"):
        fit("simclr", pace, steps=40, trainer={"max_epochs": 2})
    assert [line.partition(",")[0] for line in caplog.messages if line.startswith("epoch")] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    assert any(", loss " in line and "samples a second" in line for line in caplog.messages)
    trainer = make_trainer({"logger": False, "accelerator": "cpu", "enable_progress_bar": False}, Run(tmp_path))
    assert not any(isinstance(one, Pace) and one.lines for one in trainer.callbacks)


def test_lightning_asks_the_method_that_is_overridden():
    """It is private: without it the bar would be Lightning's again, and nobody would notice."""
    assert RichProgressBar._get_train_description is not Progress._get_train_description
