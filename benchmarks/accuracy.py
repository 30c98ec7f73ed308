"""Accuracy at one budget: our BYOL and SimCLR beside lightly's, against steps and against time.

Both start from the same weights, see the same samples in the same order, and train in Lightning's Trainer with the
optimizer of lightly's CIFAR-10 benchmark. Each draws views of the same description in its own way, or, with --views
shared, both see ours. Samples are arrays in memory; features are judged with the clock stopped.

The default is a run of a minute on a core. lightly's own setting, for a GPU, with its published figures beside it:

    python benchmarks/accuracy.py --device cuda --data cifar10/ --image-size 32 --samples 0 --width 0 --low-resolution \
        --learning-rate 0.06 --momentum 0.99 --steps 78000 --k 200 --workers 8
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accuracy_figures import table
from accuracy_watch import Look, Watch
from harness import machine
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import nn

from ssl_registry import SSLModule, registry
from ssl_registry.data import Source, SSLDataModule, open_source
from ssl_registry.data.loading.drawn import choose_view_plan
from ssl_registry.data.samples import Samples
from ssl_registry.run_options import RunOptions
from ssl_registry.runs.opened import RawNetwork
from ssl_registry.training.building import build_model

# What lightly's documentation gives for CIFAR-10: k-NN with k=200, best of 200 epochs, batch 128.
PUBLISHED = {"byol": 0.869, "simclr": 0.847}


def in_memory(source: Source, limit: int) -> Source:
    """Decode a source, or at most so many samples of each part, spread evenly over it."""

    def part(dataset: Any) -> Samples:
        count = min(limit or len(dataset), len(dataset))
        x, y = zip(*(dataset[index * len(dataset) // count] for index in range(count)), strict=True)
        return Samples(torch.stack(x), torch.stack([torch.as_tensor(label) for label in y]))

    return replace(source, train=part(source.train), test=part(source.test))


def make(method: str, source: Source, seed: int, options: argparse.Namespace) -> SSLModule:
    """Build our model, with the settings of both."""
    own = {
        "byol": {"hidden_dim": 1024, "momentum": options.momentum, "final_momentum": options.momentum},
        "simclr": {"jitter_strength": 0.5},
    }
    settings = RunOptions(
        backbone=options.backbone,
        low_resolution=options.low_resolution,
        backbone_kwargs={"channels": [options.width << stage for stage in range(4)]} if options.width else None,
        seed=seed,
    )
    return build_model(
        method,
        source,
        settings,
        registry=registry,
        options={
            "optimizer": "momentum",
            "optimizer_kwargs": {"momentum": 0.9},
            "learning_rate": options.learning_rate * options.batch / 128,
            "weight_decay": 5e-4,
            "lr_schedule": "cosine",
            **own[method],
        },
    )


def run(who: str, method: str, source: Source, seed: int, options: argparse.Namespace) -> list[Look]:
    """Train once, and return what was seen on the way."""
    model = make(method, source, seed, options)
    draw = choose_view_plan(source, model.view_policy, accelerator=options.device != "cpu")
    ours = SSLDataModule(source, batch_size=options.batch, seed=seed, draw=draw)
    if who == "ours":
        # Where nothing is said, `ssl-registry train` takes bf16 on CUDA, and lightly's examples float32.
        precision = "32-true" if options.device == "cpu" else "bf16-mixed"
        return fit(model, model.backbone, ours, model, source, options, precision)
    from accuracy_lightly import PEERS, peer_loader

    shared = options.views == "shared"
    peer = PEERS[method](model, model.view_policy if shared else None)
    data = ours if shared else peer_loader(method, source.train, model.view_policy, options, seed)
    return fit(peer, peer.backbone, data, model, source, options, "32-true")


def fit(
    module: LightningModule,
    backbone: nn.Module,
    data: Any,
    ours: SSLModule,
    source: Source,
    options: argparse.Namespace,
    precision: str,
) -> list[Look]:
    watch = Watch(RawNetwork(backbone, ours.view_policy, ours.input_shape, ours.feature_dim), source, k=options.k)
    trainer = Trainer(
        max_steps=options.steps,
        accelerator=options.device,
        devices=1,
        precision=options.precision or precision,
        callbacks=[watch],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    seed_everything(ours.seed, verbose=False)  # lightly's transforms draw from the global generators
    trainer.fit(module, data)
    return watch.looks


def main(options: argparse.Namespace) -> None:
    """Let the contenders take turns, say what came of each run, and print the table."""
    whole = open_source(options.data, image_size=options.image_size, data_root=options.data_root)
    source = in_memory(whole, options.samples)
    installed = ["ours", "lightly"] if find_spec("lightly") else ["ours"]
    contenders = [who for who in options.who if who in installed]
    versions = ", ".join(f"{name} {version(name)}" for name in ("ssl-registry", "lightning", "timm", *installed[1:]))
    where = f"{machine(options.device)}; {versions}"
    print(f"{source.name}: {len(source.train)} samples, {len(source.test)} judged. {where}")
    if len(contenders) < len(options.who):
        print("lightly is not installed: pip install 'ssl-registry[bench]'")
    runs: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for method in options.methods:
            for who in contenders[:: 1 if seed % 2 == 0 else -1]:
                looks = [asdict(look) for look in run(who, method, source, seed, options)]
                runs.append({"method": method, "who": who, "seed": seed, "looks": looks})
                words = (f"{name} {looks[0][name]:.3f} to {looks[-1][name]:.3f}" for name in ("knn", "linear"))
                print(f"{method}, {who}, seed {seed}: {', '.join(words)}, {looks[-1]['seconds']:.0f} s", flush=True)
                if options.json:
                    options.json.parent.mkdir(parents=True, exist_ok=True)
                    said = {name: value for name, value in vars(options).items() if name != "json"}
                    options.json.write_text(json.dumps({"machine": where, "options": said, "runs": runs}, indent=1))
    print(table(runs))
    if "cifar10" in source.name.lower().replace("-", "").replace("_", ""):
        print("lightly's published k-NN accuracy (k=200, ResNet-18, best of 200 epochs, batch 128):", PUBLISHED)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--data", default="digits", help="a source of images, as `ssl-registry train` takes it")
    add("--data-root", help="where torchvision's sets lie")
    add("--image-size", type=int, help="side in pixels")
    add("--samples", type=int, default=4000, help="at most so many of each part; 0: all")
    add("--methods", nargs="+", choices=tuple(PUBLISHED), default=list(PUBLISHED))
    add("--who", nargs="+", choices=("ours", "lightly"), default=["ours", "lightly"])
    add("--backbone", default="resnet18")
    add("--width", type=int, default=16, help="channels of a ResNet's first stage; 0: as the backbone has it")
    add("--low-resolution", action="store_true", help="a 3x3 stem")
    add("--steps", type=int, default=200)
    add("--batch", type=int, default=128)
    add("--seeds", type=int, default=3, help="how many, from 0 on")
    add("--learning-rate", type=float, default=0.2, help="for a batch of 128")
    add("--momentum", type=float, default=0.95, help="of BYOL's target, constant")
    add("--views", choices=("own", "shared"), default="own")
    add("--k", type=int, default=20, help="neighbours")
    add("--workers", type=int, default=0, help="of lightly's loader")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--precision", help="of both; default: float32, but bf16-mixed for ours on CUDA")
    add("--json", type=Path, help="write the figures here, for accuracy_figures.py")
    return parser.parse_args()


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    main(parse())
