"""What a run will cost, before it is spent: the time of a few steps of a copy of the model, and its memory."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ssl_registry._system.silence import silent
from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.loading.drawn import choose_view_plan
from ssl_registry.model.module import SSLModule
from ssl_registry.run_options import RunOptions

__all__ = ["Estimate", "duration", "run_length", "seconds_a_batch"]

log = logging.getLogger(__name__)

# What a run may be shortened to, the longest first.
LENGTHS = {"an hour": 3600.0, "ten minutes": 600.0}
STEPS = 2  # the second one is measured: in the first one memory is asked for and workers start
# Of Lightning's arguments, those by which a step takes longer or shorter.
OF_A_STEP = ("precision", "gradient_clip_val", "gradient_clip_algorithm", "deterministic", "benchmark", "plugins")


@dataclass(frozen=True)
class Estimate:
    """What a run will cost.

    Args:
        seconds: of one batch.
        batches: of the whole run.
        memory: bytes at the most so far, 0 where they are not known.
        on_cpu: whether a CPU trains: then a run of more than ten minutes is told how it becomes shorter.

    Example:
        >>> str(Estimate(2.5, 588, 2_400_000_000, on_cpu=True))
        'about 24 min: 588 batches of 2.5 s; memory 2.4 GB; ten minutes would be --trainer.max_steps 240, \
or a smaller --image-size or --backbone'
        >>> str(Estimate(20.0, 900, 0, on_cpu=True)).partition("; ")[2]
        'an hour would be --trainer.max_steps 180, or a smaller --image-size or --backbone'
    """

    seconds: float
    batches: int
    memory: int
    on_cpu: bool

    def __str__(self) -> str:
        words = [f"about {duration(self.seconds * self.batches)}: {self.batches:,} batches of {_short(self.seconds)}"]
        if self.memory:
            words.append(f"memory {self.memory / 1e9:.1f} GB")
        shorter = [(name, length) for name, length in LENGTHS.items() if length < self.seconds * self.batches]
        if self.on_cpu and shorter:
            name, length = shorter[0]
            steps = max(1, int(length / self.seconds))
            words.append(f"{name} would be --trainer.max_steps {steps}, or a smaller --image-size or --backbone")
        return "; ".join(words)


def duration(seconds: float) -> str:
    """Return a time as people say it.

    >>> [duration(seconds) for seconds in (0.4, 42, 1500, 9000, 300_000)]
    ['1 s', '42 s', '25 min', '2.5 h', '3.5 days']
    """
    for unit, size, digits in (("days", 86_400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{max(1, round(seconds))} s"


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def run_length(samples: int, run: RunOptions, trainer: Mapping[str, Any], *, processes: int = 1) -> int | None:
    """Return the batches of a run; None where only its time limits it.

    Args:
        samples: of the training part.
        run: with a batch size, as `ssl_registry.training.building.decide` returns it.
        trainer: arguments of Lightning's Trainer.
        processes: that share each step.
    """
    limits = []
    epochs = trainer.get("max_epochs") if run.epochs is None else run.epochs
    if epochs is not None and epochs > 0:
        limits.append(epochs * max(1, samples // ((run.large_batch or run.batch_size or 1) * processes)))
    steps = trainer.get("max_steps")
    if steps is not None and steps > 0:
        limits.append(steps * (trainer.get("accumulate_grad_batches") or 1))
    return min(limits, default=None)


def seconds_a_batch(model: SSLModule, source: Source, run: RunOptions, trainer: Mapping[str, Any]) -> float | None:
    """Return the seconds of a training step on a CPU, measured on a copy of a model, which itself is left alone.

    Args:
        model: of the run.
        source: of its samples.
        run: with a batch size.
        trainer: arguments of Lightning's Trainer.

    Returns:
        None if the steps fail: the run itself will say why.
    """
    plan = choose_view_plan(source, model.view_policy, asked=run.engine, accelerator=False)
    size = run.large_batch or run.batch_size or 1
    watch = _Stopwatch()
    asked = {key: trainer[key] for key in OF_A_STEP if trainer.get(key) is not None}
    with torch.random.fork_rng(devices=[]), silent():
        try:
            data = SSLDataModule(source, batch_size=size, num_workers=run.workers or 0, seed=run.seed, draw=plan)
            Trainer(
                **asked,
                accelerator="cpu",
                devices=1,
                max_steps=STEPS,
                callbacks=[watch],
                logger=False,
                limit_val_batches=0,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            ).fit(copy.deepcopy(model), datamodule=data)
        except Exception as error:  # whatever a method or a sample raises, the run will raise where it belongs
            log.debug("no estimate: %s", error)
            return None
    return watch.seconds


class _Stopwatch(Callback):
    """Measures the last of `STEPS` batches, the wait for it too."""

    seconds: float | None = None
    last = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self.last:
            self.seconds = now - self.last
        self.last = now
