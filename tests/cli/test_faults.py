"""No traceback reaches a user: a mistake is one line, a plugin's fault names plugin, hook and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_registry.cli import main

Make = Callable[..., Path]
QUICK = ["--trainer.accelerator", "cpu", "--trainer.limit_train_batches", "1", "--epochs", "1"]
QUICK += ["--knn", "false", "--report", "false"]
METHOD = '''
from ssl_registry import MethodConfig, hookimpl
class Faulty:
    """A method."""
    Config = MethodConfig
    def __init__(self, config): self.config = config
    @hookimpl
    def build_heads(self, backbone, feature_dim): return {}
    @hookimpl
    def compute_loss(self, model, views, ctx):
        return views[0].no_such_thing
'''


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small table, in the current folder."""
    monkeypatch.chdir(tmp_path)
    np.savez("t.npz", X=np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32))
    return tmp_path


def one_line(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command and return its exit code and the one line of its error."""
    code = main(list(words))
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return code, [line for line in text.splitlines() if line.startswith("ssl-registry")][-1]


def test_a_plugins_fault(table: Path, make_plugin: Make, capsys: Any) -> None:
    """By plugin, hook and line; --debug raises it."""
    make_plugin("faulty-plugin", {"faulty": "faulty_plugin:Faulty"}, code=METHOD, version="1.5")
    words = ("train", "faulty", "--data", "t.npz", *QUICK)
    code, told = one_line(capsys, *words)
    assert code == 1
    assert "the plugin faulty (faulty-plugin 1.5) fails in compute_loss: AttributeError: 'Tensor' object" in told
    line = METHOD.splitlines().index("        return views[0].no_such_thing") + 1
    assert f"line {line})" in told
    with pytest.raises(AttributeError):
        main([*words, "--debug"])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def Net(): raise KeyError('mine')", "net.py:Net cannot be built: KeyError: 'mine' ("),
        ("def Net(width): pass", "net.py:Net cannot be built: TypeError: Net() missing 1 required"),
        ("def Net(): return 3", "net.py:Net gives a int, not an nn.Module"),
    ],
)
def test_a_network_of_ones_own(table: Path, capsys: Any, code: str, words: str) -> None:
    """Its file and line."""
    Path("net.py").write_text(code)
    found, told = one_line(capsys, "train", "simclr", "--data", "t.npz", "--backbone", "net.py:Net", *QUICK)
    assert found == 2
    assert words in told


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--trainer.strategy", "nope"), "You selected an invalid strategy name"),
        (("--trainer.max_steps", "-5"), "`max_steps` must be a non-negative integer"),
        (("--trainer.val_check_interval", "3.7"), "invalid value 3.7 for val_check_interval"),
        (("--trainer.gradient_clip_algorithm", "nope"), "nope"),
        (("--trainer.accumulate_grad_batches", "0"), "must be at least 1"),
    ],
)
def test_what_lightning_refuses(table: Path, capsys: Any, option: tuple[str, str], words: str) -> None:
    """In its own words, as a mistake in the arguments."""
    code, told = one_line(capsys, "train", "simclr", "--data", "t.npz", *QUICK, *option)
    assert code == 2
    assert words in told


def test_what_nobody_foresaw(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Is one line with the place, and asks for a report."""
    monkeypatch.setattr("ssl_registry.cli.doctor.run", lambda argv: 1 / 0)
    code, told = one_line(capsys, "doctor")
    assert code == 1
    assert "test_faults.py, line" in told
    assert "ZeroDivisionError: division by zero; --debug shows" in told
    monkeypatch.setattr("ssl_registry.cli.doctor.run", lambda argv: exec("1 / 0"))
    monkeypatch.setattr("ssl_registry.cli.faults._is_users", lambda frame: False)
    assert "please report it" in one_line(capsys, "doctor")[1]
