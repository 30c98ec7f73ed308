"""The tutorial as one test: every command and every line of Python in it, on real data, with fewer steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ssl_registry.cli import main

TUTORIAL = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", TUTORIAL, flags=re.DOTALL)
# What makes the walk short; the commands stay as they are written otherwise.
SHORTER = {"--trainer.max_steps": "2", "--epochs": "1", "--backbone": "resnet10t", "--protocols": "knn,linear"}
# What training shows of itself; the report has a command of its own in the walk.
QUIET = [
    "--trainer.accelerator",
    "cpu",
    "--trainer.enable_progress_bar",
    "false",
    "--knn",
    "false",
    "--report",
    "false",
]


def shortened(words):
    """Replace the values that make training long."""
    return [SHORTER.get(before, word) for before, word in zip(["", *words], words, strict=False)]


@pytest.mark.slow  # nearly a minute; each command has tests of its own
def test_the_whole_way(tmp_path, monkeypatch, capsys):
    """Train, evaluate, report, fine-tune, export, load in timm, embed, and start another method."""
    monkeypatch.chdir(tmp_path)
    scope = {}
    for language, block in BLOCKS:
        if language == "python":
            exec(block.replace("resnet18", SHORTER["--backbone"]), scope)
            continue
        for line in block.splitlines():
            command, *words = shlex.split(line)
            assert command == "ssl-registry"
            assert main([*shortened(words), *(QUIET if words[0] == "train" else [])]) == 0, capsys.readouterr().err
    assert len(scope["result"].rows) == 6
    assert -1 < scope["gain"] < 1
    assert scope["features"].shape == (4, 512)
    assert scope["table"].num_rows == 1797
    assert (tmp_path / "runs/second/checkpoints/last.ckpt").is_file()


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!http)[^)#]+)\)", re.sub(r"```.*?```", "", TUTORIAL, flags=re.S)))
def test_links_lead_somewhere(path):
    """Every relative link of the page is a file."""
    assert (Path(__file__).parents[1] / "docs" / path).exists()
