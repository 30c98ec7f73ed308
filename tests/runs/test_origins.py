"""What a run writes down: every option, where it came from, every figure; and that training is not disturbed by it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
import yaml

from ssl_registry._system.yaml_files import flatten
from ssl_registry.cli import main
from ssl_registry.workflows.train import train

NETWORK = """
from torch import nn

def Network():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.ReLU(), nn.Dropout(0.2))
"""
QUICK = {"accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.py").write_text(NETWORK)
    return tmp_path


def columns(run):
    """The logged values by name, of all tables of a run."""
    values = {}
    for path in sorted((run / "metrics").glob("*/metrics.csv")):
        for row in csv.DictReader(path.read_text().splitlines()):
            for name, text in row.items():
                if text:
                    values.setdefault(name, []).append((int(row["step"]), float(text)))
    return values


def test_origins_of_a_command_line(folder):
    """Flags, the file, what the data decide, the defaults; the later of two wins; and whose the views are."""
    (folder / "c.yaml").write_text("batch_size: 128\nhidden_dim: 32\ntrainer:\n  log_every_n_steps: 5\n")
    argv = [
        "--config",
        "c.yaml",
        "--batch-size",
        "256",
        "--backbone",
        "network.py:Network",
        "--epochs",
        "1",
        "--out",
        "run",
    ]
    quick = ["--trainer.enable_progress_bar=false", "--knn", "false", "--report", "false", "--projection-dim=8"]
    assert main(["train", "byol", *argv, *quick]) == 0
    found = json.loads((folder / "run/origins.json").read_text())
    expected = {
        "batch_size": "flag",
        "hidden_dim": "file c.yaml",
        "projection_dim": "flag",
        "trainer.log_every_n_steps": "file c.yaml",
        "trainer.enable_progress_bar": "flag",
        "low_resolution": "source",
        "method": "argument",
        "momentum": "default",
        "seed": "default",
    }
    assert {name: found[name] for name in expected} == expected
    assert dict(flatten(yaml.safe_load((folder / "run/config.yaml").read_text()))).keys() == found.keys()


def test_origins_of_a_call(folder):
    """What is given in Python is an argument."""
    result = train("simclr", backbone="network.py:Network", epochs=1, knn=False, report=False, trainer=QUICK, out="run")
    options = json.loads((result.run / "origins.json").read_text())
    assert {name for name, origin in options.items() if origin == "argument"} == {
        *("method", "backbone", "epochs", "knn", "report"),
        *(f"trainer.{name}" for name in QUICK),
    }


def test_figures_are_logged(folder):
    """Loss, learning rate and BYOL's momentum at each logged step, with throughput; TensorBoard beside the table."""
    options = {"hidden_dim": 16, "projection_dim": 8, "momentum": 0.5}
    result = train(
        "byol",
        backbone="network.py:Network",
        epochs=2,
        batch_size=256,
        report=False,
        trainer=QUICK,
        options=options,
        out="run",
    )
    values = columns(result.run)
    steps = [1, 3, 5, 7, 9]
    assert all([step for step, _ in values[name]] == steps for name in ("train_loss", "learning_rate", "momentum"))
    momenta = [value for _, value in values["momentum"]]
    assert 0.5 < momenta[0] < momenta[-1] < 1
    assert momenta == sorted(momenta)
    assert [step for step, _ in values["samples_per_second"]] == steps
    assert list((result.run / "tensorboard").glob("events.out.tfevents.*"))


def test_results_tell_accuracies_and_what_watching_cost(folder):
    """Before and after, by both probes, with the guard's word."""
    result = train("simclr", backbone="network.py:Network", epochs=3, report=False, trainer=QUICK, out="run")
    saved = json.loads((result.run / "results.json").read_text())
    assert saved["knn"].keys() == {"pixels", "untrained", "trained"}
    assert saved["linear"].keys() == {"pixels", "untrained", "trained"}
    assert saved["linear"] == result.linear
    assert saved["guard"] is result.warning is None
    assert saved["watching"].keys() == {"guard", "probe"}


def test_one_class_has_no_linear_probe(folder):
    """k-NN is trivially right, and the run goes on to its report."""
    x = torch.rand(40, 1, 16, 16).numpy()
    np.savez(folder / "one.npz", x=x, y=np.zeros(40, dtype=int), x_test=x[:10], y_test=np.zeros(10, dtype=int))
    result = train(
        "simclr", data="one.npz", backbone="network.py:Network", epochs=1, batch_size=8, trainer=QUICK, out="run"
    )
    assert result.knn["trained"] == 1.0
    assert result.linear == {}
    assert (result.run / "report.html").is_file()


def test_everything_that_watches_leaves_the_weights_alone(folder):
    """All of it against none of it: bit-identical."""
    shared = {"backbone": "network.py:Network", "epochs": 4, "trainer": QUICK, "options": {"projection_dim": 8}}
    all_of_it = train("simclr", **shared, probe_budget=1e9, out="a")
    none_of_it = train("simclr", **shared, guard="off", knn=False, report=False, logger="csv", out="b")
    first, second = (result.model.state_dict() for result in (all_of_it, none_of_it))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_resuming_under_watch_is_exact(folder):
    """Two epochs, then four, with probe and guard, equal four without; the report has one curve."""
    shared = {"backbone": "network.py:Network", "trainer": QUICK, "options": {"projection_dim": 8}, "out": "run"}
    shared["batch_size"] = 256
    train("simclr", **shared, epochs=2, probe_budget=1e9)
    resumed = train("simclr", **shared, epochs=4, probe_budget=1e9, resume=True)
    whole = train("simclr", **shared | {"out": "whole"}, epochs=4, guard="off", knn=False, report=False)
    second = whole.model.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in resumed.model.state_dict().items())
    from ssl_registry.workflows.report.facts import read_facts

    steps = [step for step, _ in read_facts(resumed.run).curves["train_loss"]]
    assert steps == list(range(1, 20, 2))
