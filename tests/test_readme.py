"""What the README shows is run: a method of one's own, by the command that it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from ssl_registry import registry
from ssl_registry.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_method_of_ones_own(tmp_path, monkeypatch):
    """The 30 lines, saved under the file's name in the text, train by the command in the text."""
    (code,) = [block for block in blocks("python") if "@registry.register" in block]
    assert len(code.splitlines()) <= 40
    command = re.search(r"`ssl-registry (train variance [^`]*)`", README)[1]
    name = re.search(r"Save this as `([^`]*)`", README)[1]
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(code)
    argv = shlex.split(command)
    argv += [
        "--trainer.max_steps",
        "2",
        "--batch_size",
        "16",
        "--knn",
        "false",
        "--trainer.enable_progress_bar",
        "false",
    ]
    try:
        assert main(argv) == 0
    finally:
        registry.unregister("variance")
    assert (tmp_path / "runs/variance-resnet18/checkpoints/last.ckpt").is_file()


def test_python_example(tmp_path, monkeypatch):
    """The first Python block runs as it stands, with small data under the names that it takes for given."""
    (code,) = [block for block in blocks("python") if "registry.create" in block]
    code = code.replace("max_epochs=100", "max_steps=1, logger=False, enable_checkpointing=True")
    code = code.replace('"resnet50"', '"resnet10t"').replace("runs/byol-resnet50", "run")
    monkeypatch.chdir(tmp_path)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    lines = code.splitlines()
    load = next(i for i, line in enumerate(lines) if "registry.load" in line)
    scope = {"images": images, "dataloader": DataLoader(images, batch_size=4)}
    exec("\n".join(lines[:load]), scope)
    assert scope["features"].shape == (4, scope["model"].feature_dim)
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    exec(lines[load].replace('"run"', repr(str(checkpoint))), scope)
    # Training may have laid the weights channels last, which sums in another order.
    assert torch.allclose(scope["again"].embed(images), scope["features"], atol=1e-5)


PROSE = re.sub(r"```.*?```", "", README, flags=re.S)  # `heads["x"](view)` in code is no link


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!http)[^)]+)\)", PROSE))
def test_links_lead_somewhere(path):
    """Every relative link of the README is a file of the repository."""
    assert (Path(__file__).parents[1] / path).exists()
