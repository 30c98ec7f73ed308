"""Resuming tells the truth: a run goes on as it began, or is refused before anything of it is touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import ssl_registry
from ssl_registry.cli import main
from ssl_registry.errors import CheckpointError, SSLRegistryError, TrustError

# A copy of a run: Lightning tells that it lay elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed")

LIMITS = {"accelerator": "cpu", "enable_progress_bar": False, "limit_train_batches": 2}
BEGUN: dict[str, Any] = {
    "backbone": "test_resnet",
    "epochs": 1,
    "batch_size": 32,
    "seed": 3,
    "knn": False,
    "report": False,
    "options": {"projection_dim": 4, "learning_rate": 0.01},
    "trainer": LIMITS,
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch of two steps."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    ssl_registry.train("simclr", out=folder, **BEGUN)
    return folder


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run but its lock and what loggers write, who begin before a checkpoint is restored."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != ".lock" and not {"metrics", "tensorboard"} & set(path.parts):
            found[str(path)] = path.read_bytes()
    return found


def test_python_goes_on_as_the_run_began(run: Path) -> None:
    """What a call leaves open is in the run's configuration, as for the command, and so is where it came from."""
    before = yaml.safe_load((run / "config.yaml").read_text())
    done = ssl_registry.train("simclr", out=run, resume=True, epochs=2)
    assert done.steps == 4
    after = yaml.safe_load((run / "config.yaml").read_text())
    assert {key for key in before if before[key] != after[key]} == {"epochs"}
    assert done.model.config.learning_rate == 0.01
    origins = json.loads((run / "origins.json").read_text())
    assert origins["batch_size"] == origins["learning_rate"] == origins["epochs"] == "argument"
    assert origins["weight_decay"] == "default"


def test_a_run_that_was_stopped_in_its_first_knn_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a job is told that is started again with the same line: there is a run, which has no checkpoint yet."""
    with monkeypatch.context() as patch:
        patch.setattr("ssl_registry.workflows.train.Watch.before", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ssl_registry.train("simclr", out=tmp_path / "run", **BEGUN)
    assert not (tmp_path / "run/checkpoints/last.ckpt").exists()
    with caplog.at_level("INFO", "ssl_registry"):
        done = ssl_registry.train("simclr", out=tmp_path / "run", resume=True)
    assert done.steps == 2
    assert "The run was stopped before its first checkpoint: it begins anew." in caplog.messages


def test_python_and_the_command_end_alike(begun: Path, tmp_path: Path) -> None:
    """Both go on to the same weights."""
    first, second = (Path(shutil.copytree(begun, tmp_path / name)) for name in "ab")
    ssl_registry.train("simclr", out=first, resume=True, epochs=2)
    assert main(["train", "simclr", "--out", str(second), "--resume", "--epochs", "2"]) == 0
    states = [torch.load(folder / "checkpoints/last.ckpt", weights_only=True) for folder in (first, second)]
    assert states[0]["global_step"] == states[1]["global_step"] == 4
    assert all(torch.equal(value, states[1]["state_dict"][key]) for key, value in states[0]["state_dict"].items())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("learning_rate", "0.5"),
        ("weight_decay", "0.1"),
        ("optimizer", "sgd"),
        ("seed", "4"),
        ("image_size", "32"),
        ("temperature", "0.7"),
        ("views.blur", "0.5"),
    ],
)
def test_what_would_be_another_run_is_refused(
    run: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line that names it, before a file is touched: a plain --resume goes on afterwards."""
    before = contents(run)
    words = ["train", "simclr", "--out", str(run), "--resume", "--epochs", "2"]
    assert main([*words, f"--{option}", value]) == 2
    assert option.partition(".")[0] in capsys.readouterr().err
    assert contents(run) == before


def test_run_that_is_finished(run: Path) -> None:
    """There is nothing left to do, and nothing is written again."""
    before = contents(run)
    assert main(["train", "simclr", "--out", str(run), "--resume", "--workers", "1"]) == 0
    assert contents(run) == before


def test_seconds_are_those_of_all_sittings(run: Path) -> None:
    """Results and checkpoint count on where the first sitting ended."""
    path = run / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["callbacks"]["Sitting"]["seconds"] > 0
    checkpoint["callbacks"]["Sitting"]["seconds"] = 1000.0
    torch.save(checkpoint, path)
    done = ssl_registry.train("simclr", out=run, resume=True, epochs=2)
    assert done.seconds < 900
    assert 1000 < json.loads((run / "results.json").read_text())["seconds"] < 1900


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("optimizer_states", [{"state": {0: {"step": "x"}}, "param_groups": [{"lr": "x"}]}]),
        ("loops", {"fit_loop": {"state_dict": 3}}),
        ("callbacks", {"Sitting": 3}),
        ("pytorch-lightning_version", "no version"),
    ],
)
def test_state_that_cannot_be_restored(run: Path, entry: str, value: Any) -> None:
    """One line, and the run's configuration is as it was."""
    path = run / "checkpoints/last.ckpt"
    torch.save(torch.load(path, weights_only=True) | {entry: value}, path)
    before = contents(run)
    with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be restored") as failure:
        ssl_registry.train("simclr", out=run, resume=True, epochs=2)
    assert len(str(failure.value).splitlines()) == 1
    assert contents(run) == before


def test_resuming_in_python_asks_too(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network's file in somebody's configuration is run with trust, or when it is said again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('canary', 'w')\n")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("backbone: test_resnet", "backbone: evil.py:Net"))
    with pytest.raises(TrustError, match=r"would run the Python file evil\.py"):
        ssl_registry.train("simclr", out=run, resume=True, epochs=2)
    assert not (tmp_path / "canary").exists()
    assert ssl_registry.train("simclr", out=run, resume=True, epochs=2, backbone="test_resnet").steps == 4


def test_weights_to_start_from_are_not_read_again(run: Path) -> None:
    """They may be gone: the checkpoint holds those of the run."""
    config = run / "config.yaml"
    text = (
        config.read_text()
        .replace("start_from: null", "start_from: /gone/run")
        .replace("pretrained: false", "pretrained: true")
    )
    assert "/gone/run" in text
    config.write_text(text)
    assert ssl_registry.train("simclr", out=run, resume=True, epochs=2).steps == 4


def test_rivals_of_the_record(run: Path) -> None:
    """Who limits the run by the Trainer leaves the recorded epochs out."""
    done = ssl_registry.train("simclr", out=run, resume=True, trainer={"max_epochs": 2})
    assert done.steps == 4


def test_out_that_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the shell that is not set is not the current folder, for no verb and not in Python."""
    monkeypatch.chdir(tmp_path)
    for words in (["train", "simclr", "--out="], ["bench", "digits", "--out="], ["views", "simclr", "--out", ""]):
        assert main(words) == 2
    for call in (ssl_registry.train, ssl_registry.export, ssl_registry.embed):
        with pytest.raises(SSLRegistryError, match=r"empty|does not exist"):
            call("simclr", out="")
    assert not list(tmp_path.iterdir())
