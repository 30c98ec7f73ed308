"""Options of types that YAML and the parser read otherwise than the method means them; and a run with them resumes."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from torch import nn

from ssl_registry import Field, MethodConfig, hookimpl, registry
from ssl_registry.cli import main
from ssl_registry.runs.opened import open_run

NET = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 4, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""
SHORT = ["--data", "digits", "--backbone", "net.py:Tiny", "--batch-size", "64", "--knn", "false", "--report", "false"]
SHORT += ["--guard", "off", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--out", "run"]


class Color(Enum):
    RED = "red"
    TWO = 2


class Odd:
    """Keep the variance (arXiv:2104.02057)."""

    class Config(MethodConfig):
        """Options of every kind."""

        color: Color = Field(Color.RED, description="An enumeration.")
        colors: list[Color] = Field(default_factory=lambda: [Color.TWO], description="Several.")
        word: str = Field("x", description="Text.")
        day: date = Field(date(2020, 1, 1), description="A day.")
        raw: bytes = Field(b"a", description="Bytes.")
        wait: timedelta = Field(timedelta(seconds=1), description="A duration.")
        exact: Decimal = Field(Decimal("0.1"), description="A decimal number.")
        where: Path | None = Field(None, description="A path.")
        mode: Literal["a", 1, None] = Field("a", description="A choice.")

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim):
        return {"head": nn.Linear(feature_dim, 4)}

    @hookimpl
    def compute_loss(self, model, views):
        return (1 - model.heads["head"](model(views[0])).std(0)).relu().mean()


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """The method, in a folder with a network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    registry.register("odd", Odd)
    yield
    registry.unregister("odd")


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--color", "TWO"], Color.TWO),
        (["--color", "2"], Color.TWO),
        (["--colors", "[red, TWO]"], [Color.RED, Color.TWO]),
        (["--word", "1e5"], "1e5"),
        (["--word", "null"], "null"),
        (["--day", "2024-02-29"], date(2024, 2, 29)),
        (["--raw", "abc"], b"abc"),
        (["--wait", "0:01:00"], timedelta(minutes=1)),
        (["--wait", "PT2M"], timedelta(minutes=2)),
        (["--exact", "1e-3"], Decimal("0.001")),
        (["--where", "."], Path()),
        (["--mode", "1"], 1),
    ],
)
def test_is_taken_and_resumed(words, value, odd):
    """By name and by value; a second sitting reads it from the run's configuration."""
    name = words[0].removeprefix("--")
    for steps, resume in (("1", []), ("2", ["--resume"])):
        assert main(["train", "odd", *SHORT, *([] if resume else words), "--trainer.max_steps", steps, *resume]) == 0
        assert getattr(open_run("run", trust=True).model.config, name) == value


@pytest.mark.parametrize("words", [["--color", "pink"], ["--day", "soon"], ["--wait", "long"], ["--exact", "much"]])
def test_what_is_none_of_them(words, odd, capsys):
    """One line that names the option."""
    assert main(["train", "odd", *SHORT, *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{words[0]} " in line
    assert "is not accepted (allowed: " in line
