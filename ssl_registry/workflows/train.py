"""The sequence of a training: open, build, measure, fit, measure again, write."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry._system.memory import peak_memory
from ssl_registry._system.options import takes_options
from ssl_registry.checkpoint.io import read_checkpoint
from ssl_registry.contract.needs import needs_of
from ssl_registry.data import Source, SSLDataModule, broken_samples, cache_source
from ssl_registry.data.images.encoded import tell_broken
from ssl_registry.data.loading.drawn import choose_view_plan
from ssl_registry.errors import ConfigError, SSLRegistryError
from ssl_registry.model.module import SSLModule
from ssl_registry.model.reopen import check_goes_on
from ssl_registry.run_options import RunOptions
from ssl_registry.runs.folder import Run, plain_values
from ssl_registry.runs.origins import origins_of_call
from ssl_registry.training.building import build_model, decide, origin_of_views, read_options
from ssl_registry.training.callbacks.pace import Pace
from ssl_registry.training.callbacks.recompute import keeps_weights_whole
from ssl_registry.training.callbacks.sitting import Sitting
from ssl_registry.training.estimate import Estimate, run_length, seconds_a_batch
from ssl_registry.training.resuming import recorded_options, told_restoring
from ssl_registry.training.trainer import make_trainer
from ssl_registry.training.watching import Watch

__all__ = ["TrainResult", "train"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a training left behind.

    Args:
        run: the run's folder.
        model: the trained model; on ranks other than 0 too. Of a run that diverged, as the last checkpoint has it.
        steps: optimizer steps done, over all resumptions.
        seconds: spent in fitting, this time.
        knn: accuracies in [0, 1] of weighted k-NN on the held-out part, by features: ``pixels`` (the raw input),
            ``untrained`` (``start``, where training began with weights) and ``trained`` backbone; empty without labels.
        linear: the same of a linear probe.
        warning: what the guards said; None if all was well.
        verdict: what the measurements say, in a sentence or two; on rank 0 alone.
        diverged: whether the weights were not finite at the end.
    """

    run: Path
    model: SSLModule
    steps: int
    seconds: float
    knn: dict[str, float]
    linear: dict[str, float]
    warning: str | None
    diverged: bool = False
    verdict: str = ""


@takes_options(RunOptions)
def train(
    method: str,
    *,
    trainer: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
    registry: Registry = default_registry,
    **run: Any,
) -> TrainResult:
    """Train a method and write a run.

    What happens is logged to ``logging.getLogger("ssl_registry")``; nothing is printed.

    Args:
        method: its name.
        trainer: arguments of Lightning's Trainer.
        options: the method's own options.
        origins: where each option came from, in words, for the run's record; one that is missing has its default.
        registry: where the method is looked up.
        **run: options of the run, the fields of `RunOptions`. ``data`` can also be a `Source`. With ``resume`` what is
            not given is as the run's ``config.yaml`` says, the method's and the Trainer's options too.

    Returns:
        The run's folder, the model, the accuracies, and what the guard said.

    Raises:
        SSLRegistryError: of the kind that fits, for every mistake in the arguments.
    """
    trainer, options = dict(trainer or {}), dict(options or {})
    resume = _goes_on(run)
    recorded: Mapping[str, str] = {}
    if resume and origins is None:  # the command line has read the run's configuration, and tells where all came from
        begun = recorded_options(
            Run(Path(run["out"])), method, run=run, options=options, trainer=trainer, registry=registry
        )
        run, options, trainer = {**begun.run, **run}, {**begun.options, **options}, {**begun.trainer, **trainer}
        recorded = begun.origins
    asked, source = read_options(run, owner="train", trainer=trainer)
    settled, deciders = decide(method, asked, source, trainer, registry=registry)
    model = build_model(method, source, _without_weights(settled, resume), options=options, registry=registry)
    _fit_device(model, settled)
    folder = Run.choose(settled.out, method, str(settled.backbone))
    watch, sitting, pace = Watch(settled), Sitting(), Pace()
    lightning = make_trainer(
        trainer if settled.epochs is None else {**trainer, "max_epochs": settled.epochs},
        folder,
        callbacks=[*watch.callbacks, sitting, pace],
        logger=settled.logger,
        checkpoint_every=settled.checkpoint_every,
    )
    settings = {
        "method": method,
        **settled.model_dump(mode="json"),
        "trainer": plain_values(trainer),
        **model.config.model_dump(mode="json"),
    }
    said = ""
    device, main = lightning.strategy.root_device, lightning.is_global_zero
    with folder.claim(resume=resume) if main else nullcontext():
        checkpoint = _last_checkpoint(folder, model, settings) if resume else None
        if settled.cache is not None:
            source = cache_source(source, settled.cache, workers=settled.workers or 0)
        data = _load(source, model, settled, device)
        log.info(_summary(method, settled, source, model, lightning))
        if checkpoint is None and device.type == "cpu" and lightning.world_size == 1 and not settled.compile:
            pace.estimate = not _told_estimate(source, model, settled, trainer)
        if main:
            if origins is None:
                origins = {**origins_of_call(asked, options, plain_values(trainer)), **recorded}
            places = {"method": "argument", **origin_of_views(source), **deciders, **origins}
            # Behind the restoring: of a run that cannot go on nothing is changed.
            sitting.on_begin = partial(folder.write_settings, settings, places)
            if checkpoint is None:
                sitting.on_begin()  # before the first k-NN: a run that is stopped in it can be gone on with
            watch.before(model, data, device)
        began = time.monotonic()
        with told_restoring(checkpoint):
            lightning.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        seconds = time.monotonic() - began
        if main and not sitting.has_begun and folder.results.is_file():
            log.info(f"{folder.folder} was trained to its end before: nothing was done, and nothing is written")
            return _finished(folder, model, lightning)
        if not sitting.has_begun:
            log.info(f"nothing was trained: the run has made {lightning.global_step} steps, as many as it is to have")
        if watch.divergence.lost:
            _restore_kept(model, folder, lightning)
        if broken := broken_samples(source):
            log.info(tell_broken(broken, folder.broken))
        if main:
            watch.after(model, data, device)
            facts = {"steps": lightning.global_step, "seconds": round(sitting.seconds, 1), **watch.results(seconds)}
            folder.write_results(facts, model)
            said = _verdict(folder)
        if said:
            log.info(said)
        log.info(f"Run: {folder.folder} ({lightning.global_step} steps, {seconds:.0f} s)")
        if main and settled.report:
            _write_report(folder, model, source)
    return TrainResult(
        run=folder.folder,
        model=model,
        steps=lightning.global_step,
        seconds=seconds,
        knn=watch.knn,
        linear=watch.linear,
        warning=watch.message,
        diverged=watch.divergence.lost,
        verdict=said,
    )


def _goes_on(run: Mapping[str, Any]) -> bool:
    """Tell whether the run in ``out`` is to be continued."""
    out = run.get("out")
    if run.get("resume") and not out:
        raise ConfigError("--resume needs --out, the folder of the run to go on with")
    # SLURM starts a job again with the command line of the first time.
    requeued = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    return bool(run.get("resume")) or (requeued and bool(out) and Run(Path(str(out))).has_begun)


def _without_weights(run: RunOptions, resume: bool) -> RunOptions:
    """Leave out weights to start from where a checkpoint restores those of the run: they need not be there any more."""
    restored = resume and run.out is not None and Run(run.out).last_checkpoint.is_file()
    return run.model_copy(update={"pretrained": False, "start_from": None}) if restored else run


def _finished(folder: Run, model: SSLModule, trainer: Trainer) -> TrainResult:
    """Return what a run that was finished before has found."""
    found = folder.read_results()
    return TrainResult(
        run=folder.folder,
        model=model,
        steps=trainer.global_step,
        seconds=0.0,
        knn=dict(found.knn),
        linear=dict(found.linear),
        warning=found.guard,
        diverged=found.diverged,
    )


def _restore_kept(model: SSLModule, folder: Run, trainer: Trainer) -> None:
    """Put the weights of the last checkpoint, which are finite, in the place of those that are not."""
    if keeps_weights_whole(trainer) and folder.last_checkpoint.is_file():
        model.load_state_dict(read_checkpoint(folder.last_checkpoint).state_dict)
        log.info(f"What is measured and shown is the last checkpoint with finite weights, {folder.last_checkpoint}")


def _last_checkpoint(folder: Run, model: SSLModule, settings: Mapping[str, Any]) -> Path | None:
    """Return the checkpoint to go on from; None where the run was stopped before its first one."""
    if not folder.last_checkpoint.is_file():
        log.info("The run was stopped before its first checkpoint: it begins anew.")
        return None
    folder.check_same(settings)
    check_goes_on(read_checkpoint(folder.last_checkpoint), model)
    log.info(f"going on from the last checkpoint, {folder.last_checkpoint}")
    return folder.last_checkpoint


def _fit_device(model: SSLModule, run: RunOptions) -> None:
    """Compile the networks, or let them take a large batch in parts.

    Raises:
        ConfigError: for a large batch that is none, with compiled networks, or of a method that works on tokens.
    """
    if run.large_batch is not None:
        if run.batch_size is not None and run.large_batch < run.batch_size:
            raise ConfigError(f"large_batch={run.large_batch} must be at least batch_size={run.batch_size}")
        if run.compile:
            raise ConfigError(
                "large_batch goes through the networks in parts, which compile=true does not take; give one"
            )
        if needs_of(model.method).tokens:
            raise ConfigError(
                f"{model.info.name} works on tokens, sample by sample: give --trainer.accumulate_grad_batches instead "
                "of large_batch"
            )
        model.micro_batch = run.batch_size
    if run.compile:
        model.compile_networks()


def _load(source: Source, model: SSLModule, run: RunOptions, device: torch.device) -> SSLDataModule:
    """Return the loaders of the run, and log what is to be known of samples and views."""
    plan = choose_view_plan(source, model.view_policy, asked=run.engine, accelerator=device.type != "cpu")
    # What the method's own views leave out of grey images was told when the model was built.
    of_views = model.view_policy.notes(source.input_shape, of_channels=bool(run.view_changes))
    for note in (*source.notes, *of_views):
        log.info(note)
    if plan.engine is not None:
        log.info(str(plan.engine))
    size = run.large_batch or run.batch_size
    assert size is not None  # `decide` fills it
    if size > len(source.train):
        log.info(f"a batch of {size} is larger than the {len(source.train)} samples: a step takes {len(source.train)}")
    return SSLDataModule(source, batch_size=size, num_workers=run.workers or 0, seed=run.seed, draw=plan)


def _told_estimate(source: Source, model: SSLModule, run: RunOptions, trainer: Mapping[str, Any]) -> bool:
    """Tell what a run on one CPU will cost, before anything slow begins; return whether it could be told."""
    count = run_length(len(source.train), run, trainer)
    if count is not None:
        log.info("trying two steps, to tell how long the run takes")
    seconds = None if count is None else seconds_a_batch(model, source, run, trainer)
    if count is None or seconds is None:
        return False
    log.info(str(Estimate(seconds, count, peak_memory(), on_cpu=True)))
    return True


def _write_report(folder: Run, model: SSLModule, source: Source) -> None:
    """Write the report; what goes wrong there must not take the run with it."""
    from ssl_registry.workflows.report import write_run_report

    try:
        log.info(f"Report: {write_run_report(folder.folder, model, source)}")
    except (SSLRegistryError, OSError) as error:
        log.warning(f"No report: {error}. Try again with: ssl-registry report {folder.folder}")


def _length(run: RunOptions, trainer: Trainer) -> str:
    """Return batch and length of a run, in words."""
    each = f", {run.batch_size} at a time" if run.large_batch else ""
    epochs = "" if trainer.max_epochs in (None, -1) else f", {trainer.max_epochs} epochs"
    steps = "" if trainer.max_steps == -1 else f", {trainer.max_steps} steps"
    return f"batches of {run.large_batch or run.batch_size}{each}{epochs}{steps}"


def _verdict(folder: Run) -> str:
    """Return the verdict on what was measured; a metrics file that somebody damaged does not end the run."""
    from ssl_registry.workflows.report.facts import read_facts
    from ssl_registry.workflows.report.verdict_of_run import verdict_of_run

    try:
        return verdict_of_run(read_facts(folder.folder))
    except (SSLRegistryError, OSError) as error:
        log.warning(f"No verdict: {error}")
        return ""


def _summary(method: str, run: RunOptions, source: Source, model: SSLModule, trainer: Trainer) -> str:
    millions, heads = (sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.backbone, model.heads))
    stem = ", 3x3 stem" if run.low_resolution else ""
    held_out = f", {len(source.test)} held out" if source.test is not None else ""
    shape = " x ".join(map(str, source.input_shape))
    return (
        f"{method} on {run.backbone} ({millions:.1f} M parameters, {model.feature_dim} features{stem}; heads "
        f"{heads:.1f} M); {source.name}: {len(source.train)} samples of {shape}{held_out}; {_length(run, trainer)}; "
        f"{trainer.accelerator.name()} x {trainer.world_size}, {trainer.precision}"
    )
