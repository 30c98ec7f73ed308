"""How long a user waits before anything happens: medians of fresh processes, interleaved.

Run it with the environment's own Python: python benchmarks/startup.py [--rounds 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "ssl-registry list": ["-m", "ssl_registry.cli", "list"],
    "ssl-registry show byol": ["-m", "ssl_registry.cli", "show", "byol"],
    "ssl-registry train --help": ["-m", "ssl_registry.cli", "train", "--help"],
    "ssl-registry train byol --help": ["-m", "ssl_registry.cli", "train", "byol", "--help"],
    "import torch": ["-c", "import torch"],
    "import torch, timm, lightning": ["-c", "import torch, timm, lightning"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.rounds):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    print(f"{'command':<34}{'median s':>10}{'least s':>10}")
    for name, measured in seconds.items():
        print(f"{name:<34}{statistics.median(measured):>10.3f}{min(measured):>10.3f}")
    if options.json:
        options.json.write_text(json.dumps(seconds, indent=2))


if __name__ == "__main__":
    main()
