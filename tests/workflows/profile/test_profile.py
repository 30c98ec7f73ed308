"""Where the time goes is measured, and advice is what was tried."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_registry import registry
from ssl_registry._registry import Registry
from ssl_registry.cli import main
from ssl_registry.errors import ConfigError
from ssl_registry.workflows.profile import profile, stages
from ssl_registry.workflows.profile.advice import advise, candidates
from ssl_registry.workflows.profile.steps import Setting, Steps

pytestmark = [
    # Python 3.12 warns of every fork of a process with threads, and torch has threads.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]

CPU = {"accelerator": "cpu"}


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subject is what is measured, not how exactly."""
    monkeypatch.setattr(stages, "SECONDS", 0.05)


@pytest.fixture
def net(tmp_path: Path) -> str:
    code = "from torch import nn\ndef net():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())\n"
    (tmp_path / "net.py").write_text(code)
    return f"{tmp_path / 'net.py'}:net"


@pytest.fixture
def methods(spread: type) -> Registry:
    own = Registry()
    own.register("spread")(spread)
    return own


def test_a_folder(tmp_path: Path, net: str, methods: Registry) -> None:
    """Every stage has a rate, and so has the whole."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(16):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.jpg")
    (photos / "text.jpg").write_text("no image")
    found = profile(
        "spread", data=str(photos), backbone=net, image_size=32, batch_size=8, workers=0, steps=4, trainer=CPU,
        registry=methods,
    )  # fmt: skip
    assert list(found.stages) == ["read", "decode", "views", "network"]
    assert all(rate > 0 for rate in found.stages.values())
    assert 0 < found.whole.data_wait < 1
    assert found.whole.peak_memory > 50 * 2**20  # Python and torch alone hold more
    assert found.advice.tried[found.setting] == found.whole.rate


def test_in_memory(net: str, methods: Registry) -> None:
    """Samples in memory are not decoded, and loaded by no worker."""
    found = profile("spread", backbone=net, batch_size=8, steps=4, trainer=CPU, registry=methods)
    assert list(found.stages) == ["read", "views", "network"]
    assert found.setting.workers == 0
    assert found.engine in ("host", "device")


def test_the_command(net: str, spread: type, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints a table and a line of advice, or JSON; mistakes are one line."""
    registry.register("spread")(spread)
    arguments = [
        "profile",
        "spread",
        "--backbone",
        net,
        "--batch-size",
        "8",
        "--steps",
        "2",
        "--trainer.accelerator=cpu",
    ]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "forward, backward, optimizer" in out
    assert "of a step waits for data; peak memory" in out
    assert "engine" in out
    assert "Advice: " in out
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["samples_per_second"]) == {"read", "views", "network", "whole"}
    assert main([*arguments, "--data", "nothing"]) == 2
    assert "there is no data 'nothing'" in capsys.readouterr().err


def test_steps_are_checked(net: str, methods: Registry) -> None:
    """None at all measures nothing."""
    with pytest.raises(ConfigError, match="steps=0 must be at least 1"):
        profile("spread", backbone=net, steps=0, registry=methods)


GIB = 2**30


@pytest.mark.parametrize(
    ("decodes", "engine", "wait", "cuda", "peak", "expected"),
    [
        (True, "host", 0.5, False, GIB, {"workers", "engine"}),
        (True, "host", 0.01, False, GIB, set()),
        (False, "host", 0.5, False, GIB, {"workers", "engine"}),
        (False, "device", 0.5, False, GIB, {"engine"}),
        (False, None, 0.5, False, GIB, set()),
        (True, "split", 0.01, True, GIB, {"compile", "batch_size"}),
        (True, "split", 0.01, True, 30 * GIB, {"compile"}),
        (True, None, 0.9, True, GIB, {"workers"}),
    ],
)
def test_what_is_tried(
    decodes: bool, engine: str | None, wait: float, cuda: bool, peak: int, expected: set[str]
) -> None:
    """Workers and engines where data are waited for, a compiled network and larger batches where they are not."""
    setting = Setting(workers=1, batch_size=64)
    if not decodes:
        setting = Setting(workers=0, batch_size=64)
    found = Steps(100.0, wait, peak)
    tries = candidates(setting, found, decodes=decodes, engine=engine, samples=1000, cuda=cuda, total_memory=40 * GIB)
    changed = {name for other in tries for name in vars(setting) if getattr(other, name) != getattr(setting, name)}
    assert changed == expected


def test_the_best_of_what_was_tried_is_told() -> None:
    """With how much it gained, and what the others did; little is no advice."""
    setting, found = Setting(0, 64), Steps(100.0, 0.5, 0)
    rates = {Setting(1, 64): 180.0, Setting(2, 64): 250.0, Setting(0, 64, compile=True): 90.0}
    advice = advise(setting, found, list(rates), lambda other: Steps(rates[other], 0.0, 0))
    assert advice.best == Setting(2, 64)
    assert advice.line.startswith("--workers 2 is 2.50 times as fast (tried: --workers 1: 1.80 times,")
    assert "--compile true: 0.90 times" in advice.line
    advice = advise(setting, found, [Setting(0, 64, engine="device")], lambda other: Steps(200.0, 0.0, 0))
    assert advice.line.startswith("--views.engine device is 2.00 times as fast")
    advice = advise(setting, found, [Setting(0, 128)], lambda other: Steps(104.0, 0.0, 0))
    assert advice.line == "keep it: nothing that was tried is faster (--batch-size 128: 1.04 times)"
    advice = advise(setting, found, [Setting(0, 128)], lambda other: Steps(150.0, 0.0, 0))
    assert "it changes what is learned" in advice.line
