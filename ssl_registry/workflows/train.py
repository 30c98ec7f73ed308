"""The sequence of a training: open, build, look, fit, look again, write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import Dataset

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry.checkpoint.io import read_checkpoint
from ssl_registry.checkpoint.weights import load_backbone_weights
from ssl_registry.data import Source, SSLDataModule, broken_samples, cache_source, open_source
from ssl_registry.data.loading.drawn import choose_view_plan
from ssl_registry.data.loading.workers import default_workers
from ssl_registry.errors import ConfigError, SSLRegistryError
from ssl_registry.model.module import SSLModule
from ssl_registry.model.reopen import check_goes_on
from ssl_registry.runs.folder import Run, plain_values
from ssl_registry.runs.origins import origins_of_call
from ssl_registry.saying import silent
from ssl_registry.training.building import build_model, default_backbone
from ssl_registry.training.callbacks import GuardMode
from ssl_registry.training.trainer import make_trainer, run_limits
from ssl_registry.training.watching import Watch

__all__ = ["TrainResult", "train"]

# Arguments of `train` that are no part of a run's configuration, and those that are written apart.
NOT_SETTINGS = {"out", "resume", "trust", "options", "trainer", "origins", "registry", "say"}


@dataclass(frozen=True)
class TrainResult:
    """What a training left behind.

    Args:
        run: the run's folder.
        model: the trained model; on ranks other than 0 too.
        steps: optimizer steps done, over all resumptions.
        seconds: spent in fitting, this time.
        knn: accuracies in [0, 1] of weighted k-NN on the held-out part, by features: ``pixels`` (the raw input),
            ``untrained`` and ``trained`` backbone; empty without labels.
        linear: the same of a linear probe, without ``pixels``.
        warning: what the collapse guard said; None if all was well.
    """

    run: Path
    model: SSLModule
    steps: int
    seconds: float
    knn: dict[str, float]
    linear: dict[str, float]
    warning: str | None


def train(
    method: str,
    *,
    data: str = "digits",
    backbone: str | None = None,
    epochs: int | None = None,
    batch_size: int = 256,
    out: str | Path | None = None,
    seed: int = 0,
    image_size: int | None = None,
    data_root: str | None = None,
    modality: str | None = None,
    standardize: bool = True,
    cache: str | None = None,
    workers: int | None = None,
    low_resolution: bool | None = None,
    pretrained: bool = False,
    start_from: str | Path | None = None,
    backbone_kwargs: dict[str, Any] | None = None,
    compile: bool = False,
    knn: bool = True,
    probe_every: int = 1,
    probe_budget: float = 0.03,
    guard: GuardMode = "warn",
    logger: str | None = None,
    report: bool = True,
    checkpoint_every: int | None = None,
    resume: bool = False,
    trust: bool = False,
    views: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
    registry: Registry = default_registry,
    say: Callable[[str], None] = silent,
) -> TrainResult:
    """Train a method and write a run.

    Args:
        method: its name.
        data: a source of samples: ``digits``, a folder, an array file, or a torchvision data set.
        backbone: a timm name, ``signal_encoder``, ``table_encoder``, or ``file.py:name`` of a callable that
            returns a module; default: by the kind of samples.
        epochs: passes over the data; default 100, unless ``trainer`` limits the run.
        batch_size: samples a step and process.
        out: the run's folder; default ``runs/METHOD-BACKBONE``, with a number where that is taken.
        seed: of weights, order of samples, views and everything random.
        image_size: side of the images in pixels; default: what suits the source.
        data_root: where named data sets lie.
        modality: ``image``, ``signal`` or ``table``, where an array's shape leaves it open.
        standardize: bring signals and tables to mean 0 and std 1, by channel or feature.
        cache: a folder for images that are decoded and resized once, for all epochs and runs.
        workers: processes that load samples; default: none for what lies in memory, one a core for files, at most 8.
        low_resolution: a 3x3 stem for small images; default: for ResNets at 64 pixels and fewer.
        pretrained: start from timm's pretrained weights.
        start_from: start from the backbone of a run, a checkpoint of any method, or an export; its name, arguments and
            stem are taken where none are given.
        backbone_kwargs: further arguments of the backbone.
        compile: let torch.compile speed up backbone and heads; worth its minutes in long runs.
        knn: measure k-NN and a linear probe when the source has labels: before, while and after training.
        probe_every: epochs between two measurements while it trains; 0 for none.
        probe_budget: share of the time spent training that they may take; an epoch is left out when they would not.
        guard: what to do about a collapse: ``warn``, ``stop``, or ``off``.
        logger: ``csv``, ``tensorboard``, ``wandb`` or ``mlflow``, with commas between them; default: csv, and
            tensorboard where a package for it is installed.
        report: write ``report.html`` at the end.
        checkpoint_every: optimizer steps between two checkpoints inside an epoch, for epochs of hours; default: none
            inside, one at each epoch's end.
        resume: go on from the last checkpoint in ``out``; a job that SLURM requeued does so by itself.
        trust: run and fetch what files name: the checkpoint or export of ``start_from``.
        views: changes to the method's views: any field of theirs for all views, ``{number: {field: value}}`` for one,
            and ``engine``: ``auto``, ``host``, ``device`` or ``split``.
        trainer: arguments of Lightning's Trainer.
        options: the method's own options.
        origins: where each option came from, in words, for the run's record; one that is missing has its default.
        registry: where the method is looked up.
        say: receives lines for a person to read.

    Returns:
        The run's folder, the model, the accuracies, and what the guard said.

    Raises:
        SSLRegistryError: of the kind that fits, for every mistake in the arguments.
    """
    settings = {name: value for name, value in locals().items() if name not in NOT_SETTINGS}
    if resume and out is None:
        raise ConfigError("--resume needs --out, the folder of the run to go on with")
    if out is not None and _was_requeued():
        resume = resume or Run(Path(out)).has_begun
    limits = run_limits(epochs, trainer or {})
    source = open_source(
        data, image_size=image_size, data_root=data_root, modality=modality, standardize=standardize, seed=seed
    )
    if start_from is not None:
        start_from = settings["start_from"] = str(start_from)
        origin = load_backbone_weights(start_from)
        if backbone is None and origin.backbone is not None:
            origin.check_trust(trust=trust)
            backbone, backbone_kwargs = origin.backbone, backbone_kwargs or dict(origin.kwargs or {})
            low_resolution = origin.low_resolution if low_resolution is None else low_resolution
    name = backbone or default_backbone(source)
    model = build_model(
        method,
        source,
        backbone=name,
        low_resolution=low_resolution,
        pretrained=pretrained,
        weights=start_from,
        backbone_kwargs=backbone_kwargs,
        seed=seed,
        options=options or {},
        registry=registry,
        views={key: value for key, value in (views or {}).items() if key != "engine"},
    )
    if compile:
        model.compile_networks()
    run = Run.choose(out, method, name)
    watch = Watch(guard=guard, probe=knn, probe_every=probe_every, probe_budget=probe_budget, say=say)
    lightning = make_trainer(
        {**(trainer or {}), **limits}, run, callbacks=watch.callbacks, logger=logger, checkpoint_every=checkpoint_every
    )
    main = lightning.is_global_zero
    if not main:
        say = silent
    with run.claim(resume=resume) if main else nullcontext():
        checkpoint = str(run.last_checkpoint) if resume and run.last_checkpoint.is_file() else None
        if checkpoint is not None:
            check_goes_on(read_checkpoint(run.last_checkpoint), model)
        if workers is None:
            workers = default_workers(source)
        if cache is not None:
            source = cache_source(source, cache, workers=workers, say=say)
        device = lightning.strategy.root_device
        engine = (views or {}).get("engine", "auto")
        draw = choose_view_plan(source, model.view_policy, asked=engine, accelerator=device.type != "cpu")
        datamodule = SSLDataModule(source, batch_size=batch_size, num_workers=workers, seed=seed, draw=draw)
        for note in (*source.notes, *model.view_policy.notes(source.input_shape)):
            say(note)
        if draw is not None:
            say(str(draw.engine))
        say(_summary(method, name, source, model, lightning))
        if main:
            watch.before(model, datamodule, device)
            decided = {
                "backbone": name,
                "workers": workers,
                "low_resolution": model.backbone_record.low_resolution,
                "backbone_kwargs": backbone_kwargs or None,
            }
            run.write_settings(*_record(settings, decided, model, options or {}, trainer or {}, origins))
        if resume and checkpoint is None:
            say("The run was stopped before its first checkpoint: it begins anew.")
        started = time.monotonic()
        lightning.fit(model, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        seconds = time.monotonic() - started
        if broken := broken_samples(source):
            say(f"{len(broken)} images could not be read, and others took their places; they are named in {run.broken}")
        if main:
            watch.after(model, datamodule, device)
            facts = {"steps": lightning.global_step, "seconds": round(seconds, 1), **watch.results(seconds)}
            run.write_results(facts, model)
        say(f"Run: {run.folder} ({lightning.global_step} steps, {seconds:.0f} s)")
        if main and report:
            _report(run, model, source, say)
    return TrainResult(run.folder, model, lightning.global_step, seconds, watch.knn, watch.linear, watch.guard.message)


def _record(
    settings: dict[str, Any],
    decided: dict[str, Any],
    model: SSLModule,
    options: Mapping[str, Any],
    trainer: Mapping[str, Any],
    origins: Mapping[str, str] | None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return every option's value, and where it came from.

    Args:
        settings: what `train` was given.
        decided: what became of options that may be left open.
        model: whose configuration counts.
        options: the method's own, as they were given.
        trainer: arguments of Lightning's Trainer.
        origins: as `train` was given them; None for a call from Python.
    """
    plain = plain_values(trainer)
    if origins is None:
        defaults = {name: parameter.default for name, parameter in signature(train).parameters.items()}
        origins = origins_of_call(settings, defaults, options, plain)
    by_source = {name: "source" for name, value in decided.items() if settings[name] is None and value is not None}
    values = {**settings, **decided, "trainer": plain, **model.config.model_dump(mode="json")}
    return values, {"method": "argument", **by_source, **origins}


def _was_requeued() -> bool:
    """Tell whether SLURM started this job again, with the command line of the first time."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def _report(run: Run, model: SSLModule, source: Source, say: Callable[[str], None]) -> None:
    """Write the report; what goes wrong there must not take the run with it."""
    from ssl_registry.workflows.report import write_run_report

    try:
        say(f"Report: {write_run_report(run.folder, model, source)}")
    except (SSLRegistryError, OSError) as error:
        say(f"No report: {error}. Try again with: ssl-registry report {run.folder}")


def _summary(method: str, backbone: str, source: Source, model: SSLModule, trainer: Trainer) -> str:
    millions = sum(p.numel() for p in model.backbone.parameters()) / 1e6
    held_out = f", {_count(source.test)} held out" if source.test is not None else ""
    shape = " x ".join(map(str, source.input_shape))
    return (
        f"{method} on {backbone} ({millions:.1f} M parameters, {model.feature_dim} features); "
        f"{source.name}: {_count(source.train)} samples of {shape}{held_out}; "
        f"{trainer.accelerator.name()} x {trainer.world_size}, {trainer.precision}"
    )


def _count(dataset: Dataset[Any]) -> int:
    return len(dataset)  # type: ignore[arg-type]  # map-style data sets have a length
