"""``train`` from a shell: real data, a run on disk, resuming, own files, a wheel, two processes, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from textwrap import dedent

import pytest
import torch
import yaml

from ssl_registry import registry
from ssl_registry._system.python_files import load_object
from ssl_registry.cli import main

# A network that trains in a blink; the subject here is the command around it.
NET = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, width=8):
        super().__init__(nn.Conv2d(1, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1),
                         nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""
METHOD = """
from torch import nn
from ssl_registry import Field, MethodConfig, hookimpl, registry

class Centre:
    '''Pull two views together and keep their variance; a method for a test.'''
    class Config(MethodConfig):
        floor: float = Field(1.0, gt=0, description="Least standard deviation.")
    def __init__(self, config):
        self.config = config
    @hookimpl
    def build_heads(self, feature_dim):
        return {"head": nn.Linear(feature_dim, 8)}
    @hookimpl
    def compute_loss(self, model, views):
        z = model.heads["head"](model(views[0]))
        return (self.config.floor - z.std(0)).relu().mean()
"""
SHORT = [
    "--backbone",
    "net.py:Tiny",
    "--batch-size",
    "64",
    "--trainer.enable_progress_bar",
    "false",
    "--report",
    "false",
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(dedent(NET))
    return tmp_path


def shell(*argv, **variables):
    return subprocess.run(
        [sys.executable, "-m", "ssl_registry.cli", *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )


def small_heads(method):
    return {
        "byol": ["--hidden-dim", "32", "--projection-dim", "16"],
        "simclr": ["--projection-dim", "16"],
        "lfr": ["--num-candidates", "3", "--num-targets", "2"],
    }[method]


def test_nothing_of_lightnings_banners_with_a_recipe(folder):
    """A recipe asks for the number of processes before the run; neither that nor the run names devices and loggers."""
    words = "--trainer.max_steps 1 --image-size 16 --batch-size 8 --projection-dim 8 --data.limit 40"
    limits = "--knn false --out run"
    done = shell("train", "simclr", "--recipe", "small", *SHORT, *words.split(), *limits.split())
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert "Run: run" in told
    assert not [line for line in told.splitlines() if re.search("GPU available|TPU|Tip|litlogger|HPU", line)]


@pytest.mark.parametrize("method", ["byol", "simclr", "lfr"])
def test_trains_on_digits_and_writes_a_run(method, capsys, folder):
    """The embedded default: a run with configuration, metrics, checkpoint, and k-NN before and after."""
    assert main(["train", method, *SHORT, *small_heads(method), "--epochs", "1", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "k-NN accuracy before" in out
    assert "k-NN accuracy after" in out
    assert "Trained features: " in out
    run = folder / "run"
    results = json.loads((run / "results.json").read_text())
    assert set(results["knn"]) == {"pixels", "untrained", "trained"}
    assert results["knn"]["pixels"] > 0.9
    assert results["steps"] == 20
    assert yaml.safe_load((run / "config.yaml").read_text())["method"] == method
    assert "train_loss" in next((run / "metrics").rglob("metrics.csv")).read_text()
    backbone = load_object("net.py:Tiny")()

    assert registry.load(run, backbone=backbone).info.name == method


def test_run_is_repeated_from_its_configuration(folder):
    """`--config` of a run gives the same weights."""
    assert main(["train", "simclr", *SHORT, "--epochs", "1", "--seed", "5", "--temperature", "0.2", "--out", "a"]) == 0
    assert main(["train", "simclr", "--config", "a/config.yaml", "--out", "b", "--trust"]) == 0
    first, second = (torch.load(folder / name / "checkpoints/last.ckpt", weights_only=True) for name in "ab")
    assert second["ssl_registry"]["config"]["temperature"] == 0.2
    assert all(torch.equal(value, second["state_dict"][key]) for key, value in first["state_dict"].items())


def test_views_are_changed_and_repeated(folder, capsys):
    """A field of all views, fields of one, the engine: told, in the run's configuration, and repeated from it."""
    words = ["--views.blur", "0.25", "--views.noise", "0.1", "--views.1.flip=0.5", "--views.1.noise", "0"]
    words += ["--views.engine", "device"]
    assert main(["train", "simclr", *SHORT, "--epochs", "1", "--out", "a", *words]) == 0
    assert "views: device engine (as told)" in capsys.readouterr().out
    assert main(["train", "simclr", "--config", "a/config.yaml", "--out", "b", "--trust"]) == 0
    first, second = (registry.load(run, backbone=load_object("net.py:Tiny")()).view_policy for run in "ab")
    assert first == second
    assert [(view.blur, view.flip, view.noise > 0) for view in first.views] == [(0.25, 0.0, True), (0.25, 0.5, False)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--views.blurr", "1"], "has no field 'blurr'. Did you mean 'blur'"),
        (["--views.engine", "gpu"], "views.engine='gpu' is not one of auto, host, device, split"),
        (["--views.7.blur", "0"], "there is no view 7; this method draws 2"),
        (["--views.0.blur"], "--views.0.blur needs a value"),
        (["--views.flip", "2"], "views.flip=2: Input should be less than or equal to 1"),
    ],
)
def test_mistakes_in_views(words, message, folder, capsys):
    """One line, exit code 2."""
    assert main(["train", "simclr", *SHORT, *words]) == 2
    assert message in capsys.readouterr().err


def test_resume_goes_on(capsys, folder):
    """Two epochs, then four in the same folder, are four."""
    run = ["train", "simclr", *SHORT, "--out", "run"]
    assert main([*run, "--epochs", "2"]) == 0
    assert main([*run, "--epochs", "4"]) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main([*run, "--epochs", "4", "--resume"]) == 0
    assert main(["train", "simclr", *SHORT, "--out", "whole", "--epochs", "4"]) == 0
    first, second = (torch.load(folder / n / "checkpoints/last.ckpt", weights_only=True) for n in ("run", "whole"))
    assert all(torch.equal(value, second["state_dict"][key]) for key, value in first["state_dict"].items())


def test_resume_needs_nothing_but_the_folder(folder):
    """What is not said again comes from the run: its data, backbone and options; what is said wins."""
    assert main(["train", "simclr", *SHORT, "--temperature", "0.2", "--epochs", "1", "--out", "run"]) == 0
    config, origins = ((folder / "run" / name).read_text() for name in ("config.yaml", "origins.json"))
    assert main(["train", "simclr", "--out", "run", "--resume", "--epochs", "2", "--trust"]) == 0
    assert (folder / "run/config.yaml").read_text() == config.replace("epochs: 1\n", "epochs: 2\n")
    assert (folder / "run/origins.json").read_text() == origins
    saved = torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)
    assert saved["epoch"] == 1


def test_resume_as_another_run_touches_nothing(folder, capsys):
    """Whatever decides weights stays as the run began: one line, exit code 2, and no file is written."""
    assert main(["train", "simclr", *SHORT, "--epochs", "1", "--out", "run"]) == 0
    before = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    wide = NET.replace("Tiny", "Wide").replace("width=8", "width=16")
    (folder / "wide.py").write_text(dedent(wide))
    for words, message in (
        (["--hidden-dim", "24"], "the run in run began with hidden_dim=None and would go on with 24"),
        (["--learning-rate", "0.5"], "began with learning_rate=0.3 and would go on with 0.5"),
        (["--image-size", "12"], "began with image_size=16 and would go on with 12"),
        (["--seed", "3"], "began with seed=0 and would go on with 3"),
        (["--backbone", "wide.py:Wide"], "the run began with backbone.0.weight of shape [8, 1, 3, 3] and would"),
    ):
        assert main(["train", "simclr", *words, "--epochs", "2", "--out", "run", "--resume", "--trust"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()} == before


def test_resume_with_other_limits(folder):
    """A flag for the length of the run stands above what the run began with, whoever of the two counts epochs."""
    assert main(["train", "simclr", *SHORT, "--knn", "false", "--trainer.max_epochs", "1", "--out", "run"]) == 0
    assert main(["train", "simclr", "--out", "run", "--resume", "--epochs", "2", "--trust"]) == 0
    assert main(["train", "simclr", "--out", "run", "--resume", "--trainer.max_epochs", "3", "--trust"]) == 0
    assert torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2
    assert yaml.safe_load((folder / "run/config.yaml").read_text())["trainer"]["max_epochs"] == 3


def test_default_folders_never_collide(folder):
    """Without --out a second run gets a number."""
    for _ in range(2):
        assert main(["train", "simclr", *SHORT, "--epochs", "1", "--knn", "false"]) == 0
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["simclr-Tiny", "simclr-Tiny-2"]


def test_print_config_is_a_config(folder, capsys):
    """What --print_config shows can be given back through --config."""
    with pytest.raises(SystemExit) as done:
        main(["train", "byol", "--momentum", "0.9", "--print_config"])
    assert done.value.code == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["momentum"] == 0.9
    (folder / "c.yaml").write_text(printed)
    assert main(["train", "byol", "--config", "c.yaml", *SHORT, *small_heads("byol"), "--epochs", "1"]) == 0


def test_help_shows_the_methods_own_options(capsys):
    """Options of the method and of every method, and, where they are asked for, of Lightning's Trainer."""
    assert main(["train", "byol", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(word in out for word in ("--momentum", "float >= 0 <= 1", "--learning-rate", "--trainer.help lists"))
    assert "--trainer.max_epochs" not in out
    assert main(["train", "byol", "--trainer.help"]) == 0
    assert "--trainer.max_epochs" in capsys.readouterr().out


def test_help_needs_neither_lightning_nor_timm():
    """What tells of a method waits for torch alone, which its module imports."""
    code = (
        "import sys; from ssl_registry.cli import main\n"
        "for words in (['train', 'byol', '--help'], ['show', 'lfr'], ['train', 'simclr', '-h']):\n"
        "    assert main(words) == 0\n"
        "    found = {'lightning', 'timm', 'torchvision'} & sys.modules.keys(); assert not found, (words, found)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_method_of_a_local_file(folder, capsys):
    """--plugin runs a file; what it registers trains like any other."""
    (folder / "mine.py").write_text(dedent(METHOD) + 'registry.register("centre", Centre)\n')
    try:
        argv = [
            "train",
            "centre",
            "--plugin",
            "mine.py",
            *SHORT,
            "--floor",
            "0.5",
            "--epochs",
            "1",
            "--out",
            "run",
        ]
        assert main(argv) == 0
    finally:
        registry.unregister("centre")
    assert json.loads((folder / "run/results.json").read_text())["steps"] == 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    ["simclr", "byol", "lfr"],
)
def test_two_processes_under_torchrun(method, folder):
    """The same command on two processes (gloo): half the steps, one run, one set of weights."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    argv = [
        "ssl_registry.cli",
        "train",
        method,
        *SHORT,
        *small_heads(method),
        "--epochs",
        "2",
        "--out",
        "run",
    ]
    limits = ["--trainer.accelerator", "cpu", "--trainer.devices", "2"]
    done = subprocess.run([*torchrun, *argv, *limits], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((folder / "run/results.json").read_text())
    assert results["steps"] == 20
    assert done.stdout.count("k-NN accuracy after") == 1


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_that_resumes(folder):
    """SIGINT in the midst of training: exit code 130, and resuming ends where an undisturbed run ends."""
    argv = ["train", "simclr", *SHORT, "--knn", "false", "--epochs", "8", "--trainer.log_every_n_steps", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ssl_registry.cli", *argv, "--out", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    last = folder / "run/checkpoints/last.ckpt"
    while not last.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "--resume" in err
    assert torch.load(last, weights_only=True)["global_step"] < 160
    assert main([*argv, "--out", "run", "--resume"]) == 0
    assert main([*argv, "--out", "whole"]) == 0
    first, second = (torch.load(folder / n / "checkpoints/last.ckpt", weights_only=True) for n in ("run", "whole"))
    assert first["global_step"] == second["global_step"] == 160
    assert all(torch.equal(value, second["state_dict"][key]) for key, value in first["state_dict"].items())


def test_guard_stops_a_collapsed_run(folder, capsys):
    """Exit code 1, one warning, and a run with its checkpoint and what was said."""
    dead = METHOD.replace('model.heads["head"](model(views[0]))', 'model.heads["head"](model(views[0]) * 0)')
    (folder / "dead.py").write_text(dedent(dead) + 'registry.register("dead", Centre)\n')
    argv = ["train", "dead", "--plugin", "dead.py", *SHORT, "--epochs", "30", "--knn", "false"]
    try:
        assert main([*argv, "--guard", "stop", "--out", "run"]) == 1
        assert capsys.readouterr().out.count("Warning: collapse at step 31: head gives") == 1
        assert main([*argv, "--guard", "loud", "--out", "other"]) == 2
        assert "--guard 'loud' is not accepted (allowed: warn | stop | off)" in capsys.readouterr().err
    finally:
        registry.unregister("dead")
    results = json.loads((folder / "run/results.json").read_text())
    assert results["steps"] == 31
    assert "Likely causes: (1) head alone gives a constant" in results["guard"]
    assert (folder / "run/checkpoints/last.ckpt").exists()
