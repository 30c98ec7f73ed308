"""How long a user waits before anything happens: fresh processes, and the creation of a model."""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import Work, arguments, run

COMMANDS = {
    "ssl-registry list": ["-m", "ssl_registry.cli", "list"],
    "ssl-registry show byol": ["-m", "ssl_registry.cli", "show", "byol"],
    "ssl-registry train --help": ["-m", "ssl_registry.cli", "train", "--help"],
    "ssl-registry train byol --help": ["-m", "ssl_registry.cli", "train", "byol", "--help"],
    "import torch": ["-c", "import torch"],
    "import torch, timm, lightning": ["-c", "import torch, timm, lightning"],
}


PLUGINS = 30
METADATA = """Metadata-Version: 2.4
Name: ssl-registry-made-up-{number}
Version: 0.1.0
Summary: Method number {number}, which is as long in its words as others are.
Requires-Dist: ssl-registry<0.2,>=0.1
Requires-Dist: torch>=2.11
"""
ENTRY_POINTS = "[ssl_registry.methods]\nmade-up-{number} = ssl_registry_made_up_{number}:MadeUp\n"


def process(command: list[str], *path: str) -> Callable[[], object]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")])}
    return lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True, env=environment)


def install(folder: Path) -> None:
    """Write the metadata of so many plugins, as pip does; nothing of them is imported by what is measured."""
    for number in range(PLUGINS):
        metadata = folder / f"ssl_registry_made_up_{number}-0.1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(METADATA.format(number=number))
        (metadata / "entry_points.txt").write_text(ENTRY_POINTS.format(number=number))


def works(options: argparse.Namespace) -> Iterator[Work]:
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder))
        calls = {name: process(command) for name, command in COMMANDS.items()}
        many = process(COMMANDS["ssl-registry list"], folder)
        calls = {f"ssl-registry list, {PLUGINS} plugins more": many, "python alone": process(["-c", "pass"]), **calls}
        yield Work("a command, from nothing", calls, "Start-up", rounds=5)

    import timm

    from ssl_registry import registry
    from ssl_registry.nn import MLP

    def ours() -> object:
        return registry.create("byol", backbone="resnet50")

    def by_hand() -> object:
        backbone = timm.create_model("resnet50", num_classes=0)
        head = MLP(backbone.num_features, 4096, 256)
        return copy.deepcopy(backbone), copy.deepcopy(head), head, MLP(256, 4096, 256)

    calls = {"registry.create": ours, "timm, heads and copies by hand": by_hand}
    yield Work("BYOL on a ResNet-50", calls, "Creation", goal={"timm, heads and copies by hand": 0.9})


if __name__ == "__main__":
    options = arguments(__doc__)
    run(works(options), options)
