"""The divergence guard: notices NaN and infinity in loss and weights, and keeps them out of checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ssl_registry.model.batches import read_batch
from ssl_registry.model.module import SSLModule
from ssl_registry.model.supervised import SupervisedModule
from ssl_registry.run_options import GuardMode, check_guard
from ssl_registry.training.callbacks.divergence_causes import causes_of_divergence, how_to_go_on
from ssl_registry.training.callbacks.finite import find_not_finite, not_finite_buffers, sums_of_samples

__all__ = ["DivergenceGuard", "weights_are_finite"]

log = logging.getLogger(__name__)

WATCHED = (SSLModule, SupervisedModule)
# Optimizer steps between two looks at the losses, where Lightning logs more rarely.
MOST_STEPS = 100
# What explains weights that were never finite.
BEGAN = ["the weights that training began with: those of --from or --resume, or what the method built"]


@dataclass(frozen=True)
class _Batch:
    """What is kept of a batch until the next look, all of it still on its device."""

    step: int  # that it belongs to, counted from 1
    loss: Tensor
    sums: Tensor | None  # [batch], see `sums_of_samples`
    indices: Any  # [batch], of the samples in the source; None where the batch does not tell


@dataclass(frozen=True)
class _Loss:
    """A loss that was not finite, or the first of several in a row."""

    step: int
    value: float
    before: tuple[int, float] | None  # step and value of the last finite one
    samples: tuple[str, ...]  # of its batch that are not finite themselves


class DivergenceGuard(Callback):
    """Tell that a training has diverged, end it, and say which checkpoint is left.

    No step waits for the device: losses stay there until Lightning logs (every 100 steps where it logs more rarely).
    Parameters, buffers and the optimizer's state are looked at when a loss was not finite, at the ends of epochs, and
    before a checkpoint is saved (`ssl_registry.training.trainer.RunTrainer`). All ranks decide alike. Nothing of the
    training is touched, and no random number is drawn.

    Args:
        mode: ``warn`` and ``stop`` end the run once weights are not finite, since they never become finite again;
            ``stop`` ends it at a loss that is not finite, too, of which ``warn`` only tells. ``off`` looks at nothing
            but what is to be saved, and trains on.

    Attributes:
        message: what was said; None while all is well.
        lost: whether the weights are not finite.
        seconds: that it took.
        checkpoint: where the run saves itself; None where that is not known.
        kept_step: of the checkpoint there; None before there is one.

    Raises:
        ConfigError: for another mode.
    """

    def __init__(self, mode: GuardMode = "warn") -> None:
        self.mode = check_guard(mode)
        self.message: str | None = None
        self.lost = False
        self.seconds = 0.0
        self.checkpoint: Path | None = None
        self.kept_step: int | None = None
        self._seen: list[_Batch] = []
        self._sums: Tensor | None = None
        self._last_finite: tuple[int, float] | None = None
        self._bad: _Loss | None = None  # the losses are not finite since then
        self._meant: frozenset[str] | None = None  # buffers that are not finite from the start
        self._finite_at: int | None = None  # the step at which the weights were last found finite

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, behind the restoring of a checkpoint."""
        self.message, self.lost, self.seconds, self._meant = None, False, 0.0, None
        self._seen, self._bad, self._last_finite, self._finite_at = [], None, None, None
        self.kept_step = trainer.global_step if trainer.ckpt_path else None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Add up the samples, on the device; look at the weights before the first step."""
        if not isinstance(pl_module, WATCHED):
            return
        started = time.perf_counter()
        if self._meant is None:
            self.weights_are_finite(trainer)
        self._sums = None
        if self.mode != "off" and not self.lost and isinstance(pl_module, SSLModule):
            self._sums = sums_of_samples(read_batch(batch, pl_module.input_shape))
        self.seconds += time.perf_counter() - started

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss on the device, and look at the losses when it is time."""
        if self.mode == "off" or self.lost or not isinstance(pl_module, WATCHED):
            return
        started = time.perf_counter()
        accumulates = trainer.fit_loop._should_accumulate()
        step = trainer.global_step + accumulates  # Lightning counts the step behind its last batch
        if isinstance(outputs, dict) and isinstance(outputs.get("loss"), Tensor):
            indices = batch.get("indices") if isinstance(batch, dict) else None
            self._seen.append(_Batch(step, outputs["loss"].detach(), self._sums, indices))
        interval = pl_module.log_interval if isinstance(pl_module, SSLModule) else MOST_STEPS
        if not accumulates and step % min(interval, MOST_STEPS) == 0:
            self._look(trainer)
        self.seconds += time.perf_counter() - started

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at losses and weights, before anything else measures or saves them."""
        if self.mode != "off" and isinstance(pl_module, WATCHED):
            self._look(trainer)
            self.weights_are_finite(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the weights once more, whatever the mode."""
        if isinstance(pl_module, WATCHED):
            self.weights_are_finite(trainer)

    def weights_are_finite(self, trainer: Trainer, loss: _Loss | None = None) -> bool:
        """Tell whether all weights are finite, on every rank; all ranks must ask at once.

        When they are not for the first time, that is told, and the run ends behind this step unless the guard is off.

        Args:
            trainer: that trains them.
            loss: that was not finite before, if any.
        """
        if self.lost:
            return False
        model = trainer.lightning_module
        if self._meant is None:
            self._meant = not_finite_buffers(model)
        bad = find_not_finite(model, trainer.optimizers, self._meant)
        if trainer.strategy.reduce_boolean_decision(not bad, all=True):
            self._finite_at = trainer.global_step
            return True
        self.lost = True
        latest = self._read_losses(trainer)
        self._tell(trainer, self._bad or loss or latest, bad)
        return False

    def _look(self, trainer: Trainer) -> None:
        passing = self._read_losses(trainer)
        if not trainer.strategy.reduce_boolean_decision(passing is not None, all=False):
            return
        if self.weights_are_finite(trainer, passing) and self.message is None:
            self._tell(trainer, passing, [])

    def _read_losses(self, trainer: Trainer) -> _Loss | None:
        """Wait for the losses since the last look, and return the first that is not finite."""
        seen, self._seen = self._seen, []
        first: _Loss | None = None
        values = torch.stack([batch.loss.float() for batch in seen]).tolist() if seen else []
        for batch, share in zip(seen, values, strict=True):
            value = share * trainer.accumulate_grad_batches  # Lightning hands it out divided
            if math.isfinite(value):
                self._last_finite, self._bad = (batch.step, value), None
            elif self._bad is None:
                self._bad = _Loss(batch.step, value, self._last_finite, _names(trainer, batch))
                first = first or self._bad
        return first or self._bad

    def _tell(self, trainer: Trainer, loss: _Loss | None, bad: Sequence[str]) -> None:
        """Say once what is not finite; every rank has seen other batches, and rank 0 speaks for all."""
        model = trainer.lightning_module
        loss = _earliest(trainer, loss)
        facts = []
        if loss is not None:
            before = "" if loss.before is None else f" ({loss.before[1]:.4g} at step {loss.before[0]})"
            goes_on = self.lost or self._bad is not None
            facts.append(
                f"the loss {f'is {loss.value} since' if goes_on else f'was {loss.value} at'} step {loss.step}{before}"
            )
        if self.lost:
            facts.append(self._about_weights(trainer.global_step, bad))
        samples: tuple[str, ...] = () if loss is None else loss.samples
        what = "training has diverged" if self.lost else "a loss is not finite, the weights are"
        sentences = [f"{what}: {', and '.join(facts)}"]
        if isinstance(model, SSLModule):
            causes = BEGAN if self._finite_at is None else causes_of_divergence(model, trainer, samples)
            sentences.append("Likely causes: " + "; ".join(f"({n}) {cause}" for n, cause in enumerate(causes, 1)))
            if self.lost and self._finite_at is not None:
                method = model.info.name
                sentences.append(how_to_go_on(self.checkpoint, self.kept_step, method=method, samples=samples))
        self.message = ". ".join(filter(None, sentences))
        if trainer.is_global_zero:
            log.warning(self.message)
        if self.mode == "stop" or (self.mode == "warn" and self.lost):
            trainer.should_stop = True

    def _about_weights(self, step: int, bad: Sequence[str]) -> str:
        since = "before the first step" if self._finite_at is None else f"all were finite at step {self._finite_at}"
        which = f"{bad[0]} and {len(bad) - 1} more" if len(bad) > 1 else "".join(bad) or "those of another rank"
        return f"weights are not finite at step {step}: {which} ({since})"


def weights_are_finite(trainer: Trainer) -> bool:
    """Ask the trainer's `DivergenceGuard`, on all ranks at once; True without one."""
    guard = next((one for one in trainer.callbacks if isinstance(one, DivergenceGuard)), None)  # type: ignore[attr-defined]  # set in a helper
    return guard is None or guard.weights_are_finite(trainer)


def _names(trainer: Trainer, batch: _Batch) -> tuple[str, ...]:
    """Name the samples of a batch that are not finite: by what the source calls them, or by numbers."""
    if batch.sums is None:
        return ()
    rows = (~batch.sums.isfinite()).nonzero().flatten().tolist()
    if batch.indices is None:
        return tuple(f"sample {row} of the batch of step {batch.step}" for row in rows)
    source = getattr(getattr(trainer, "datamodule", None), "source", None)
    numbers = [int(batch.indices[row]) for row in rows]
    names = [None if source is None else source.train.name(number) for number in numbers]
    return tuple(name or f"sample {number}" for name, number in zip(names, numbers, strict=True))


def _earliest(trainer: Trainer, loss: _Loss | None) -> _Loss | None:
    """Return, on every rank, the first loss of any that was not finite."""
    found = [loss]
    if trainer.world_size > 1 and torch.distributed.is_initialized():
        found = [None] * trainer.world_size
        torch.distributed.all_gather_object(found, loss)
    known = [one for one in found if one is not None]
    return min(known, key=lambda one: (one.step, not one.samples), default=None)
