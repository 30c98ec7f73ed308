"""How long a user waits before anything happens: fresh processes, and the creation of a model."""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
from collections.abc import Callable, Iterator

from harness import Work, arguments, run

COMMANDS = {
    "ssl-registry list": ["-m", "ssl_registry.cli", "list"],
    "ssl-registry show byol": ["-m", "ssl_registry.cli", "show", "byol"],
    "ssl-registry train --help": ["-m", "ssl_registry.cli", "train", "--help"],
    "ssl-registry train byol --help": ["-m", "ssl_registry.cli", "train", "byol", "--help"],
    "import torch": ["-c", "import torch"],
    "import torch, timm, lightning": ["-c", "import torch, timm, lightning"],
}


def process(command: list[str]) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True)


def works(options: argparse.Namespace) -> Iterator[Work]:
    calls = {name: process(command) for name, command in COMMANDS.items()}
    yield Work("a command, from nothing", calls, "Start-up", rounds=3)

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
