"""Accuracy at one budget: our methods beside lightly's of the same name, against steps and against time.

Both start from the same weights, see the same samples in the same order, and train in Lightning's Trainer with the
optimizer of lightly's CIFAR-10 benchmark, or AdamW where that does not do (`accuracy_contenders.py`). BYOL and SimCLR
draw views of the same description in their own ways; with --views shared both see ours. Samples are arrays in memory;
features are judged with the clock stopped. With --json a run that was stopped goes on where it was.

The default is a run of a minute on a core. All methods, for the table of docs/results.md:

    python benchmarks/accuracy.py --data FashionMNIST --data-root data --methods all --views shared --looks 2 \
        --json docs/accuracy.json
    python benchmarks/accuracy_table.py docs/results.md docs/accuracy.json

lightly's own setting, for a GPU, with its published figures beside it:

    python benchmarks/accuracy.py --device cuda --data cifar10/ --image-size 32 --samples 0 --width 0 --low-resolution \
        --learning-rate 0.06 --momentum 0.99 --steps 78000 --k 200 --workers 8
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accuracy_contenders import CONTENDERS, PUBLISHED, settings_of
from accuracy_figures import table
from accuracy_training import in_memory, make, run
from accuracy_watch import LOOKS, judge, raw_pixels
from harness import machine

from ssl_registry.data import open_source
from ssl_registry.runs.opened import RawNetwork

# Methods whose views `accuracy_lightly.transform` describes in lightly's words.
OWN_VIEWS = {"byol", "simclr", "simclr-dcl", "simclr-dclw"}
LATER = ("json", "methods", "seeds", "who", "data_root", "workers")


def main(options: argparse.Namespace) -> None:
    """Let the contenders take turns, say what came of each run, and print the table."""
    whole = open_source(options.data, image_size=options.image_size, data_root=options.data_root)
    source = in_memory(whole, options.samples)
    installed = ["ours", "lightly"] if find_spec("lightly") else ["ours"]
    versions = ", ".join(f"{name} {version(name)}" for name in ("ssl-registry", "lightning", "timm", *installed[1:]))
    where = f"{machine(options.device)}; {versions}"
    print(f"{source.name}: {len(source.train)} samples, {len(source.test)} judged. {where}")
    if set(options.who) - set(installed):
        print("lightly is not installed: pip install 'ssl-registry[bench]'")
    said = {name: value for name, value in vars(options).items() if name not in LATER}
    content = {
        "machine": where,
        "options": said,
        "raw": asdict(raw_pixels(source, options.k)),
        "closed": [],
        "runs": [],
    }
    if options.json and options.json.exists():
        before = json.loads(options.json.read_text())
        if before["options"] != json.loads(json.dumps(said)):
            raise SystemExit(
                f"{options.json} holds figures of other options; give another file, or these: {before['options']}"
            )
        content["runs"] = before["runs"]
    for seed in range(options.seeds):
        model = make("simclr", source, seed, options, zero_init_last=True)
        network = RawNetwork(model.backbone, model.view_policy, model.input_shape, model.feature_dim)
        content["closed"].append(asdict(judge(network, source, options.k)))
        for name in options.methods:
            for who in contenders(name, [who for who in options.who if who in installed], seed):
                settings = json.loads(json.dumps(settings_of(name, options)))
                cell = {"method": name, "who": who, "seed": seed}
                found = [run for run in content["runs"] if cell.items() <= run.items()]
                if any(run["settings"] == settings for run in found):
                    continue
                looks = [asdict(look) for look in run(who, name, source, seed, options)]
                content["runs"] = [run for run in content["runs"] if run not in found]
                content["runs"].append({**cell, "settings": settings, "looks": looks})
                words = (f"{key} {looks[0][key]:.3f} to {looks[-1][key]:.3f}" for key in ("knn", "linear"))
                print(f"{name}, {who}, seed {seed}: {', '.join(words)}, {looks[-1]['seconds']:.0f} s", flush=True)
                if options.json:
                    write(content, options.json)
    print(table(content["runs"]))
    if "cifar10" in source.name.lower().replace("-", "").replace("_", ""):
        print("lightly's published k-NN accuracy (k=200, ResNet-18, best of 200 epochs, batch 128):", PUBLISHED)


def contenders(name: str, who: list[str], seed: int) -> list[str]:
    """Return who has this method, in an order that changes from seed to seed."""
    if "lightly" in who:
        from accuracy_lightly import PEERS

        who = [one for one in who if one == "ours" or name in PEERS]
    return who[:: 1 if seed % 2 == 0 else -1]


def write(content: dict[str, Any], path: Path) -> None:
    """Replace the file at once, so that a killed run leaves whole figures behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    beside.replace(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--data", default="digits", help="a source of images, as `ssl-registry train` takes it")
    add("--data-root", help="where torchvision's sets lie")
    add("--image-size", type=int, help="side in pixels")
    add("--samples", type=int, default=4000, help="at most so many of each part; 0: all")
    add("--methods", nargs="+", choices=("all", *CONTENDERS), default=["byol", "simclr"])
    add("--who", nargs="+", choices=("ours", "lightly"), default=["ours", "lightly"])
    add("--backbone", default="resnet18")
    add("--width", type=int, default=16, help="channels of a ResNet's first stage; 0: as the backbone has it")
    add("--low-resolution", action="store_true", help="a 3x3 stem")
    add("--steps", type=int, default=200)
    add("--batch", type=int, default=128)
    add("--seeds", type=int, default=3, help="how many, from 0 on")
    add("--looks", type=int, default=LOOKS, help="how often the features are judged behind the first step")
    add("--learning-rate", type=float, default=0.2, help="of SGD, for a batch of 128")
    add("--adaptive-rate", type=float, default=2e-3, help="of AdamW, for a batch of 128")
    add("--momentum", type=float, default=0.95, help="of targets and teachers; constant but for MoCo v3's")
    add("--views", choices=("own", "shared"), default="own")
    add("--k", type=int, default=20, help="neighbours")
    add("--workers", type=int, default=0, help="of lightly's loader")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--precision", help="of both; default: float32, but bf16-mixed for ours on CUDA")
    add("--json", type=Path, help="write the figures here, for accuracy_figures.py")
    options = parser.parse_args()
    if "all" in options.methods:
        options.methods = list(CONTENDERS)
    if options.views == "own" and "lightly" in options.who and (missing := set(options.methods) - OWN_VIEWS):
        parser.error(
            f"lightly's own views are written down for {', '.join(sorted(OWN_VIEWS))}; give --views shared "
            f"for {', '.join(sorted(missing))}"
        )
    return options


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    main(parse())
