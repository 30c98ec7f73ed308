"""`profile`: where the time of a method on a source goes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry._system.options import takes_options
from ssl_registry.data import cache_source
from ssl_registry.data.loading.drawn import ViewPlan, choose_view_plan
from ssl_registry.errors import ConfigError
from ssl_registry.model.module import SSLModule
from ssl_registry.run_options import RunOptions
from ssl_registry.training.building import build_model, decide, read_options
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


@takes_options(RunOptions)
def profile(
    method: str,
    *,
    steps: int = 20,
    trainer: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    registry: Registry = default_registry,
    **run: Any,
) -> Profile:
    """Measure a method on a source, stage by stage and as a whole, and try what may be faster.

    Args:
        method: its name.
        steps: that are measured, for every setting that is tried.
        trainer: arguments of Lightning's Trainer, such as ``accelerator``.
        options: the method's own options.
        registry: where the method is looked up.
        **run: options as `ssl_registry.train` takes them. Those about the run's length, its folder and what watches it
            change nothing here.

    Raises:
        SSLRegistryError: as `ssl_registry.train`.
    """
    if steps < 1:
        raise ConfigError(f"steps={steps} must be at least 1")
    trainer = dict(trainer or {})
    asked, source = read_options(run, owner="profile", trainer=trainer)
    decodes = source.train.decodes
    settled, _ = decide(method, asked, source, trainer, registry=registry)
    if settled.cache is not None:
        source = cache_source(source, settled.cache, workers=settled.workers or 0)
    assert settled.batch_size is not None
    setting = Setting(settled.workers or 0, settled.batch_size, settled.compile, settled.engine)

    def build() -> SSLModule:
        return build_model(method, source, settled, options=options or {}, registry=registry)

    def plan(model: SSLModule, engine: str) -> ViewPlan:
        return choose_view_plan(source, model.view_policy, asked=engine, accelerator=device.type != "cpu")

    def measure(other: Setting) -> Steps:
        model = build()
        log.info(
            f"training {steps} steps with {other.workers} workers, batches of {other.batch_size}"
            + " compiled" * other.compile
            + f", {other.engine} engine" * (other.engine != "auto")
        )
        return with_data(model, source, plan(model, other.engine), other, steps, trainer)

    model = build()  # first: a name that is wrong is told at once
    if torch.cuda.is_available() and trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda"):
        model.to("cuda")
    device = model.device
    log.info("reading and decoding")
    stages = read_and_decode(source, count=4 * setting.batch_size)
    whole = measure(setting)
    batch = sample_batch(source, setting.batch_size)
    log.info("drawing views, and the network alone")
    drawn_by = plan(model, setting.engine)
    stages["views"] = views(model, batch, drawn_by)
    drawn = [view.detach() for view in model.view_policy.draw(batch.to(device), torch.Generator(device).manual_seed(0))]
    stages["network"] = without_data(model, drawn, setting, steps, trainer).rate
    cuda = device.type == "cuda"
    tries = candidates(
        setting,
        whole,
        decodes=decodes,
        engine=None if drawn_by.engine is None or batch.dtype != torch.uint8 else drawn_by.engine.name,
        samples=len(source.train),
        cuda=cuda,
        total_memory=torch.cuda.get_device_properties(device).total_memory if cuda else 0,
    )
    where = torch.cuda.get_device_name(device) if cuda else f"CPU, {torch.get_num_threads()} threads"
    engine = "device" if drawn_by.engine is None else drawn_by.engine.name
    return Profile(stages, whole, setting, where, engine, advise(setting, whole, tries, measure))
