"""One run of `accuracy.py`: the samples, our model and lightly's beside it, and the training of either."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import Any

import torch
from accuracy_contenders import CONTENDERS, settings_of
from accuracy_watch import Look, Watch
from lightning.pytorch import Trainer, seed_everything
from ssl_registry_distill import Teacher
from torch import nn

from ssl_registry import SSLModule, registry
from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.loading.drawn import choose_view_plan
from ssl_registry.data.samples import Samples
from ssl_registry.run_options import RunOptions
from ssl_registry.runs.opened import RawNetwork
from ssl_registry.training.building import build_model


def in_memory(source: Source, limit: int) -> Source:
    """Decode a source, or at most so many samples of each part, spread evenly over it."""

    def part(dataset: Any) -> Samples:
        count = min(limit or len(dataset), len(dataset))
        x, y = zip(*(dataset[index * len(dataset) // count] for index in range(count)), strict=True)
        return Samples(torch.stack(x), torch.stack([torch.as_tensor(label) for label in y]))

    return replace(source, train=part(source.train), test=part(source.test))


def make(
    name: str,
    source: Source,
    seed: int,
    options: Namespace,
    heads: dict[str, nn.Module] | None = None,
    *,
    zero_init_last: bool = False,
) -> SSLModule:
    """Build our model, with the settings of both.

    timm's ResNets begin with residual branches that give nothing (``zero_init_last``). What is left are 1x1
    convolutions with strides, so such a backbone sees a corner of a small image until training opens the branches.
    """
    kwargs: dict[str, Any] = {"channels": [options.width << stage for stage in range(4)]} if options.width else {}
    if options.backbone.startswith("resnet"):
        kwargs["zero_init_last"] = zero_init_last
    settings = RunOptions(
        backbone=options.backbone, low_resolution=options.low_resolution, backbone_kwargs=kwargs or None, seed=seed
    )
    method = CONTENDERS[name].method or name
    return build_model(
        method, source, settings, registry=registry, options={**settings_of(name, options), **(heads or {})}
    )


def run(who: str, name: str, source: Source, seed: int, options: Namespace) -> list[Look]:
    """Train once, and return what was seen on the way."""
    heads: dict[str, nn.Module] = {}
    if name == "distill":  # its teacher is what SimCLR makes of the same backbone
        learned = make("simclr", source, seed, options)
        fit(learned, learned, loader(learned, source, options), source, options, looks=1)
        heads["teacher_model"] = Teacher(learned.backbone, loaded=True)
    model = make(name, source, seed, options, heads)
    ours = loader(model, source, options)
    if who == "ours":
        # Where nothing is said, `ssl-registry train` takes bf16 on CUDA, and lightly's examples float32.
        precision = "32-true" if options.device == "cpu" else "bf16-mixed"
        return fit(model, model, ours, source, options, precision=precision)
    from accuracy_lightly import PEERS, peer_loader

    shared = options.views == "shared"
    peer = PEERS[name](model, model.view_policy if shared else None)
    data = ours if shared else peer_loader(name, source.train, model.view_policy, options, seed)
    return fit(peer, model, data, source, options)


def loader(model: SSLModule, source: Source, options: Namespace) -> SSLDataModule:
    """Draw views as `ssl-registry train` does."""
    draw = choose_view_plan(source, model.view_policy, accelerator=options.device != "cpu")
    return SSLDataModule(source, batch_size=options.batch, seed=model.seed, draw=draw)


def fit(
    module: Any,
    ours: SSLModule,
    data: Any,
    source: Source,
    options: Namespace,
    *,
    precision: str = "32-true",
    looks: int | None = None,
) -> list[Look]:
    """Train a module with the product that is judged, ours or lightly's beside ours."""
    network = RawNetwork(module.product, ours.view_policy, ours.input_shape, ours.feature_dim)
    watch = Watch(network, source, k=options.k, looks=looks or options.looks)
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
