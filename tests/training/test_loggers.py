"""Loggers by name: what each writes, and what is said when its package is missing."""

from __future__ import annotations

import importlib.util

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from ssl_registry.errors import ConfigError, MissingExtraError
from ssl_registry.runs.folder import Run
from ssl_registry.training import loggers as loggers_module
from ssl_registry.training.loggers import make_loggers
from ssl_registry.training.trainer import make_trainer


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


def test_default_is_tables_and_tensorboard(run):
    """Both within the run's folder."""
    csv, tensorboard = make_loggers(None, run)
    assert isinstance(csv, CSVLogger)
    assert isinstance(tensorboard, TensorBoardLogger)
    assert all(str(run.folder) in str(logger.log_dir) for logger in (csv, tensorboard))


def test_default_without_tensorboard_is_tables_alone(run, monkeypatch):
    """No package, no word."""
    monkeypatch.setattr(loggers_module, "_has_tensorboard", lambda: False)
    assert [type(logger) for logger in make_loggers(None, run)] == [CSVLogger]


def test_tables_are_always_written(run):
    """The report reads them, whatever else was asked for."""
    assert [type(logger) for logger in make_loggers("tensorboard", run)] == [CSVLogger, TensorBoardLogger]
    assert [type(logger) for logger in make_loggers("csv", run)] == [CSVLogger]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) for name in ("wandb", "mlflow")),
    reason="asks what is said without these packages",
)
def test_missing_package_answers_with_the_line_that_installs_it(run, name):
    """Before anything is trained."""
    with pytest.raises(
        MissingExtraError, match=rf"--logger {name} needs {name}; run: pip install 'ssl-registry\[{name}\]'"
    ):
        make_loggers(name, run)


@pytest.mark.parametrize(("name", "cls"), [("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")])
def test_services_are_lightnings_own(run, monkeypatch, name, cls):
    """Given the run's name, and a place within its folder."""
    given = {}
    monkeypatch.setattr(loggers_module, "require", lambda *_: None)
    monkeypatch.setattr(loggers_module, cls, lambda **arguments: given.update(arguments))
    make_loggers(f"csv, {name}", run)
    assert run.folder.name in given.values()
    places = [str(given[key]) for key in ("save_dir", "tracking_uri", "artifact_location") if key in given]
    assert places
    assert all(str(run.folder.resolve()) in place for place in places)


def test_unknown_name(run):
    """With the nearest one."""
    with pytest.raises(
        ConfigError, match=r"no logger 'wandbb'. Did you mean 'wandb'\? Loggers: csv, tensorboard, wandb, mlflow"
    ):
        make_loggers("wandbb", run)


def test_two_ways_to_say_it(run):
    """One of them is meant."""
    with pytest.raises(ConfigError, match=r"give --logger or --trainer.logger, not both"):
        make_trainer({"logger": False}, run, logger="csv")
