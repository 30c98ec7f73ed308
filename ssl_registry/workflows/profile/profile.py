"""`profile`: where the time of a method on a source goes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry.data import cache_source, open_source
from ssl_registry.data.images.encoded import EncodedImages
from ssl_registry.data.loading.drawn import ViewPlan, choose_view_plan
from ssl_registry.data.loading.workers import default_workers
from ssl_registry.errors import ConfigError
from ssl_registry.model.module import SSLModule
from ssl_registry.training.building import build_model, choose_backbone
from ssl_registry.workflows.profile.advice import Advice, advise, candidates
from ssl_registry.workflows.profile.stages import read_and_decode, sample_batch, views
from ssl_registry.workflows.profile.steps import Setting, Steps, with_data, without_data

__all__ = ["Profile", "profile"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Profile:
    """Where the time of a training goes.

    Args:
        stages: samples a second of each stage by itself: ``read`` and ``decode`` in one process, ``views`` and
            ``network`` (forward, backward, optimizer) on the device.
        whole: of training as it is: all of them together.
        setting: with which that was measured.
        device: where the network was.
        engine: that drew the views: ``host``, ``device`` or ``split``.
        advice: what to change.
    """

    stages: dict[str, float]
    whole: Steps
    setting: Setting
    device: str
    engine: str
    advice: Advice


def profile(
    method: str,
    *,
    data: str = "digits",
    backbone: str | None = None,
    batch_size: int = 256,
    image_size: int | None = None,
    data_root: str | None = None,
    cache: str | Path | None = None,
    workers: int | None = None,
    steps: int = 20,
    trainer: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    registry: Registry = default_registry,
) -> Profile:
    """Measure a method on a source, stage by stage and as a whole, and try what may be faster.

    Args:
        method, data, backbone, batch_size, image_size, data_root, cache, workers, options, registry: as `train` takes
            them.
        steps: that are measured, for every setting that is tried.
        trainer: arguments of Lightning's Trainer, such as ``accelerator``.

    Raises:
        SSLRegistryError: as `train`.
    """
    if steps < 1:
        raise ConfigError(f"steps={steps} must be at least 1")
    source = open_source(data, image_size=image_size, data_root=data_root)
    decodes = isinstance(source.train, EncodedImages)
    if workers is None:
        workers = default_workers(source)
    if cache is not None:
        source = cache_source(source, cache, workers=workers)
    name, backbone_kwargs = choose_backbone(method, source, backbone, None, registry=registry)
    setting = Setting(workers, batch_size)

    def build() -> SSLModule:
        return build_model(
            method,
            source,
            backbone=name,
            low_resolution=None,
            pretrained=False,
            backbone_kwargs=backbone_kwargs,
            seed=0,
            options=options or {},
            registry=registry,
        )

    def drawing(model: SSLModule, engine: str) -> ViewPlan | None:
        return choose_view_plan(source, model.view_policy, asked=engine, accelerator=device.type != "cpu")

    def measure(other: Setting) -> Steps:
        model = build()
        log.info(
            f"training {steps} steps with {other.workers} workers, batches of {other.batch_size}"
            + " compiled" * other.compile
            + f", {other.engine} engine" * (other.engine != "auto")
        )
        return with_data(model, source, drawing(model, other.engine), other, steps, trainer or {})

    model = build()  # first: a name that is wrong is told at once
    if torch.cuda.is_available() and (trainer or {}).get("accelerator", "auto") in ("auto", "gpu", "cuda"):
        model.to("cuda")
    device = model.device
    log.info("reading and decoding")
    stages = read_and_decode(source, count=4 * batch_size)
    whole = measure(setting)
    batch = sample_batch(source, batch_size)
    log.info("drawing views, and the network alone")
    drawn_by = drawing(model, setting.engine)
    stages["views"] = views(model, batch, drawn_by)
    drawn = [view.detach() for view in model.view_policy.draw(batch.to(device), torch.Generator(device).manual_seed(0))]
    stages["network"] = without_data(model, drawn, setting, steps, trainer or {}).rate
    cuda = device.type == "cuda"
    tries = candidates(
        setting,
        whole,
        decodes=decodes,
        engine=None if drawn_by is None or batch.dtype != torch.uint8 else drawn_by.engine.name,
        samples=len(source.train),  # type: ignore[arg-type]  # map-style data sets have a length
        cuda=cuda,
        total_memory=torch.cuda.get_device_properties(device).total_memory if cuda else 0,
    )
    where = torch.cuda.get_device_name(device) if cuda else f"CPU, {torch.get_num_threads()} threads"
    engine = "device" if drawn_by is None else drawn_by.engine.name
    return Profile(stages, whole, setting, where, engine, advise(setting, whole, tries, measure))
