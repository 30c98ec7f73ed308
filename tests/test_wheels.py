"""Plugins of each kind as users get them: wheels, installed into folders of their own, behind the same command lines.

The source and the format are those of docs/write-a-source.md, word by word.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch

GUIDE = (Path(__file__).parents[1] / "docs/write-a-source.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', GUIDE, flags=re.DOTALL))
PROJECT = """
    [build-system]
    requires = ["hatchling>=1.24"]
    build-backend = "hatchling.build"
    [project]
    name = "ssl-registry-{name}"
    version = "0.1.0"
    description = "{name} for a test."
    dependencies = ["ssl-registry>=0.1"]
    [project.entry-points."ssl_registry.{group}"]
    {name} = "ssl_registry_{name}:{attribute}"
    [tool.hatch.build.targets.wheel]
    packages = ["ssl_registry_{name}"]
    """
METHOD = """
    from torch import nn
    from ssl_registry import MethodConfig, hookimpl

    class Spread:
        '''Keep features apart; a method for tests.'''
        class Config(MethodConfig): ...
        def __init__(self, config): self.config = config
        @hookimpl
        def build_heads(self, feature_dim): return {"head": nn.Linear(feature_dim, 4)}
        @hookimpl
        def compute_loss(self, model, views):
            return (1 - model.heads["head"](model(views[0])).std(0)).relu().mean()
    """
QUICK = ["--trainer.max_steps", "1", "--batch-size", "8", "--workers", "0", "--knn", "false", "--report", "false"]
QUICK += ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]


def write(project: Path, name: str, group: str, attribute: str, code: str) -> None:
    package = project / f"ssl_registry_{name}"
    package.mkdir(parents=True)
    (project / "pyproject.toml").write_text(dedent(PROJECT.format(name=name, group=group, attribute=attribute)))
    (package / "__init__.py").write_text(dedent(code))


def pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Folders with one installed wheel each: a source, a format, a method, and a source that raises on import."""
    root = tmp_path_factory.mktemp("wheels")
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    write(root / "spread", "spread", "methods", "Spread", METHOD)
    write(root / "bad", "bad", "sources", "KIND", "raise RuntimeError('imported')")
    projects = ("wav", "npz", "spread", "bad")
    pip("wheel", "--no-deps", "--no-build-isolation", "-w", root / "dist", *(root / name for name in projects))
    for name in projects:
        (wheel,) = (root / "dist").glob(f"ssl_registry_{name}-*.whl")
        pip("install", "--no-deps", "--no-index", "--target", root / "sites" / name, wheel)
    return {name: root / "sites" / name for name in projects}


@pytest.fixture
def shell(sites, tmp_path, monkeypatch):
    """Run a command of ssl-registry in an empty folder, where plugins of these names are installed."""
    monkeypatch.chdir(tmp_path)

    def run(*words, plugins=("wav", "npz", "spread"), code=0):
        path = os.pathsep.join([*(str(sites[name]) for name in plugins), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path}
        command = [sys.executable, "-m", "ssl_registry.cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture
def recordings(tmp_path):
    """Thirty tones of two classes, a few milliseconds each."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    time = np.arange(64) / 8000
    for number in range(30):
        name, pitch = ("low", 200) if number % 2 else ("high", 900)
        tone = np.sin(2 * np.pi * (pitch + number) * time)
        with wave.open(str(folder / f"{name}-{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes((tone * 2**14).astype(np.int16).tobytes())
    return folder


@pytest.mark.slow  # three quarters of a minute
def test_all_three_work_through_the_same_command_lines(shell, recordings, tmp_path):
    """Listed, trained, evaluated and embedded as the core's own are."""
    rows = {(row["kind"], row["name"]): row for row in json.loads(shell("list", "--json").stdout)}
    for kind, name in (("source", "wav"), ("exporter", "npz"), ("method", "spread")):
        assert rows[kind, name]["distribution"] == f"ssl-registry-{name}"
        assert rows[kind, name]["status"] == "ok"
    shell("train", "spread", "--data", "wav:recordings", *QUICK, "--out", "run")
    record = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["ssl_registry"]
    assert (record["distribution"], record["version"]) == ("ssl-registry-spread", "0.1.0")
    found = json.loads(shell("evaluate", "run", "--json", "--seeds", "1", "--workers", "0", "--trust").stdout)
    assert (found["data"], found["train"] + found["test"]) == ("recordings", 30)
    shell("embed", "run", "--out", "x.parquet", "--workers", "0", "--trust")
    assert (tmp_path / "x.parquet").is_file()


@pytest.mark.slow  # half a minute
def test_a_format_of_a_wheel(shell, tmp_path):
    """Its code is run in a fresh process, and the help names it."""
    net = ["--backbone", "regnetx_002", "--image-size", "16"]
    shell("train", "spread", "--data", "digits", *net, *QUICK, "--out", "run")
    shown = shell("export", "run", "--format", "npz").stdout
    assert "weights.npz" in shown
    assert "Loaded in a fresh process" in shown
    assert "npz (Weights as NumPy arrays.; ssl-registry-npz 0.1.0)" in " ".join(
        shell("export", "--help").stdout.split()
    )


@pytest.mark.slow  # a minute of processes
def test_a_broken_source_leaves_everything_else_working(shell, recordings):
    """And is named: by list --check, by doctor, and by the error of --data."""
    plugins = ("bad", "wav", "npz", "spread")
    shell("train", "spread", "--data", "wav:recordings", *QUICK, "--out", "run", plugins=plugins)
    cause = "ssl-registry-bad 0.1.0 fails to import (RuntimeError: imported)"
    assert cause in shell("list", "--check", "--json", plugins=plugins, code=1).stdout
    assert cause in shell("doctor", plugins=plugins, code=1).stdout
    told = shell("train", "spread", "--data", "recordingz", *QUICK, plugins=plugins, code=2).stderr
    assert cause in told
    assert "a folder of recordings" not in told  # plugins are described by their metadata alone
    assert "wav:... (Recordings: .wav files of one length as signals.; ssl-registry-wav 0.1.0)" in told
