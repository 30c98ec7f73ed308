"""Accuracy of the methods on tokens, on one small vision transformer, beside that transformer untrained and the pixels.

Each method trains by its recipe `small`, on patches of 4 pixels, for so many steps; k-NN and linear probe judge the
held-out part. Digits are drawn at 32 pixels. A file of arrays is made of another source once:

    python benchmarks/token_accuracy.py --data digits FashionMNIST --data-root data --json runs/bench/tokens.json
    python benchmarks/token_accuracy.py --json runs/bench/tokens.json --table
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine

from ssl_registry import registry
from ssl_registry.cli.settings import resolve
from ssl_registry.data import open_source
from ssl_registry.workflows.train import train

METHODS = ("mae", "simmim", "ijepa", "data2vec", "ibot", "dinov2")
NETWORK = "{patch_size: 4, depth: 4, embed_dim: 128, num_heads: 4, class_token: false, global_pool: avg}"


def arrays(name: str, root: str | None, samples: int, folder: Path) -> str:
    """Return what `--data` takes: digits by name, of others so many samples of each part in a file of arrays."""
    if name == "digits":
        return name
    source = open_source(name, data_root=root)
    parts: dict[str, Any] = {}
    for word, part in (("train", source.train), ("test", source.test)):
        count = min(samples, len(part))
        x, y = zip(*(part[index * len(part) // count] for index in range(count)), strict=True)
        parts[f"X_{word}"] = np.stack([image.squeeze(0).numpy() for image in x])
        parts[f"y_{word}"] = np.array([int(label) for label in y])
    np.savez(folder / f"{name}.npz", **parts)
    return str(folder / f"{name}.npz")


def run(method: str, data: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train once; return accuracies by features, and seconds."""
    size = ["--image-size", "32"] if data == "digits" else []
    words = ["--recipe", "small", "--data", data, *size, "--backbone-kwargs", NETWORK, "--seed", str(seed)]
    words += ["--trainer.max_steps", str(options.steps), "--trainer.max_epochs", "-1", "--batch-size", "128"]
    words += ["--probe-every", "0", "--report", "false", "--trainer.enable_progress_bar", "false"]
    words += ["--trainer.accelerator", "cpu", "--trainer.enable_checkpointing", "false", "--logger", "csv"]
    settings = resolve(method, registry.method_class(method).Config, words)
    arguments = settings.as_arguments()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = train(method, **{**arguments, "epochs": None, "out": Path(folder) / "run"})
        seconds = time.perf_counter() - began
    return {"knn": result.knn, "linear": result.linear, "seconds": result.seconds, "whole": seconds}


def table(content: dict[str, Any]) -> str:
    """Return the figures as Markdown: mean and deviation over seeds."""
    lines = ["| set | features | k-NN | linear | above untrained, k-NN | s |", "|---|---|--:|--:|--:|--:|"]

    def told(values: list[float]) -> str:
        deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{100 * statistics.mean(values):.1f}{deviation}"

    for data in dict.fromkeys(one["data"] for one in content["runs"]):
        of_set = [one for one in content["runs"] if one["data"] == data]
        raw = [one["knn"]["pixels"] for one in of_set]
        lines.append(f"| {data} | raw pixels | {100 * raw[0]:.1f} | | | |")
        seen = {(one["seed"], one["knn"]["untrained"]): one for one in of_set if one["method"] == METHODS[0]}
        first = list(seen.values())
        untrained = [told([one[key]["untrained"] for one in first]) for key in ("knn", "linear")]
        lines.append(f"| | untrained | {untrained[0]} | {untrained[1]} | | |")
        for method in METHODS:
            runs = [one for one in of_set if one["method"] == method]
            if runs:
                gains = [one["knn"]["trained"] - one["knn"]["untrained"] for one in runs]
                knn, linear = (told([one[key]["trained"] for one in runs]) for key in ("knn", "linear"))
                seconds = statistics.mean(one["seconds"] for one in runs)
                lines.append(f"| | {method} | {knn} | {linear} | {told(gains)} | {seconds:.0f} |")
    return "\n".join(lines)


def main(options: argparse.Namespace) -> None:
    """Run what is missing, and print the table."""
    content: dict[str, Any] = {"runs": []}
    if options.json.exists():
        content = json.loads(options.json.read_text())
    if not options.table:
        content["machine"] = f"{machine('cpu')}; ssl-registry {version('ssl-registry')}, timm {version('timm')}"
        content["steps"] = options.steps
        with tempfile.TemporaryDirectory() as folder:
            paths = {name: arrays(name, options.data_root, options.samples, Path(folder)) for name in options.data}
            for seed in range(options.seeds):
                for name, path in paths.items():
                    for method in options.methods:
                        cell = {"method": method, "data": name, "seed": seed, "steps": options.steps}
                        if any(cell.items() <= one.items() for one in content["runs"]):
                            continue
                        content["runs"].append({**cell, **run(method, path, seed, options)})
                        options.json.parent.mkdir(parents=True, exist_ok=True)
                        options.json.write_text(json.dumps(content, indent=1) + "\n")
                        print({key: value for key, value in content["runs"][-1].items() if key != "steps"}, flush=True)
    print(table(content))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--data", nargs="+", default=["digits"], help="digits, or names that torchvision knows")
    add("--data-root", help="where torchvision's sets lie")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    add("--samples", type=int, default=4000, help="at most so many of each part")
    add("--steps", type=int, default=400)
    add("--seeds", type=int, default=3, help="how many, from 0 on")
    add("--json", type=Path, default=Path("runs/bench/tokens.json"), help="figures; a run that was stopped goes on")
    add("--table", action="store_true", help="only print the table of the file")
    return parser.parse_args()


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    main(parse())
