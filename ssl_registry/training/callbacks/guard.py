"""The collapse guard: notices early that a network gives every sample the same, and says why that may be."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from ssl_registry._system.plain import first_problem
from ssl_registry.errors import CheckpointError
from ssl_registry.measures.collapse import effective_rank, feature_spread
from ssl_registry.model.module import SSLModule
from ssl_registry.nn import Tokens
from ssl_registry.run_options import GuardMode, check_guard
from ssl_registry.training.callbacks.diagnosis import Snapshot, judge, likely_causes
from ssl_registry.training.callbacks.recompute import (
    is_compiled,
    keeps_weights_whole,
    recompute_loss,
    trivial_loss,
)

__all__ = ["CollapseGuard", "GuardMode"]

log = logging.getLogger(__name__)

# Optimizer steps between two snapshots: more often in the first steps, when runs collapse.
EARLY_EVERY, EARLY_STEPS, EVERY = 10, 100, 100
# The trivial loss costs a forward pass: it is computed for every third snapshot.
TRIVIAL_LOSS_EVERY = 3
# An output is judged on at most this many samples: the SVD of more costs more than a step.
MAX_SAMPLES = 256
# An output with fewer samples or features is not judged: two short vectors are often alike by chance.
MIN_SAMPLES_AND_FEATURES = 8


_STATE = TypeAdapter(tuple[list[Snapshot], str | None])


class CollapseGuard(Callback):
    """Take snapshots of backbone and heads; when they have collapsed, log a warning once, or stop the run.

    Signs, on the batch at hand: an output that trains and is the same for every sample (`feature_spread`); a loss that
    is no better than with a backbone that gives every sample the same, its trivial value. ``spread`` and ``rank``
    (RankMe) of the backbone are logged. Of NaN and infinity `DivergenceGuard` tells.

    The network has hooks during the steps of a snapshot alone. No random number that training sees is drawn, and
    buffers are left as they were: weights are bit-identical with and without it.

    Args:
        mode: ``warn``, ``stop`` (the run ends after this step as if it were its last), or ``off``.

    Attributes:
        message: what was said; None while all is well.
        snapshots: what was seen so far.
        seconds: that the guard took.

    Raises:
        ConfigError: for another mode.
    """

    def __init__(self, mode: GuardMode = "warn") -> None:
        self.mode = check_guard(mode)
        self.message: str | None = None
        self.snapshots: list[Snapshot] = []
        self.seconds = 0.0
        self._handles: list[Any] = []
        self._outputs: dict[str, Tensor] = {}
        self._inputs: Tensor | None = None
        self._last_step = 0
        self._is_due = False  # whether this batch's end takes a snapshot

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put hooks on the network for this batch, if a snapshot is due."""
        step = trainer.global_step
        due = step > 0 and step % (EARLY_EVERY if step <= EARLY_STEPS else EVERY) == 0
        # With accumulated gradients several batches begin at one step; the first one counts.
        if self.mode == "off" or not due or step == self._last_step or not isinstance(pl_module, SSLModule):
            return
        self._last_step = step
        self._is_due = True
        if not is_compiled(pl_module):
            self._hook(pl_module)

    def _hook(self, model: SSLModule) -> None:
        for name, part in (("backbone", model.backbone), *model.heads.items()):
            self._handles.append(part.register_forward_hook(self._keep_output_of(name)))

    def _keep_output_of(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            if name == "backbone" and self._inputs is None:
                self._inputs = inputs[0]
            if isinstance(output, Tokens):  # a method on tokens: their mean stands for the sample
                output = output.patches.mean(1)
            # What does not train, such as a moving average, cannot be the cause.
            trains = isinstance(output, Tensor) and output.requires_grad
            large = trains and output.ndim == 2 and min(output.shape) >= MIN_SAMPLES_AND_FEATURES
            if large and name not in self._outputs:
                self._outputs[name] = output.detach()[:MAX_SAMPLES]

        return keep

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Judge what the hooks saw."""
        if not self._is_due or not isinstance(pl_module, SSLModule):
            return
        started = time.perf_counter()
        with trainer.precision_plugin.train_step_context():
            if is_compiled(pl_module) and keeps_weights_whole(trainer):
                # A compiled network does not run hooks that are added later: recompute, uncompiled.
                self._hook(pl_module)
                recompute_loss(pl_module, batch, batch_idx)
            seen, inputs = self._outputs, self._inputs
            self._release()
            trivial = None
            if (len(self.snapshots) + 1) % TRIVIAL_LOSS_EVERY == 0 and keeps_weights_whole(trainer):
                trivial = float(trivial_loss(pl_module, batch, batch_idx))
        snapshot = Snapshot(
            step=trainer.global_step,
            loss=float(outputs["loss"]) * trainer.accumulate_grad_batches,  # Lightning hands it out divided
            spread={name: float(feature_spread(output)) for name, output in seen.items()},
            rank={name: float(effective_rank(output)) for name, output in seen.items()},
            trivial_loss=trivial,
        )
        self.snapshots.append(snapshot)
        self._log(trainer, snapshot)
        self._tell(trainer, pl_module, inputs)
        self.seconds += time.perf_counter() - started

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on must remember, to find what it would have found undisturbed."""
        return {"snapshots": [asdict(snapshot) for snapshot in self.snapshots], "message": self.message}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            CheckpointError: if it is damaged.
        """
        try:
            state = _STATE.validate_python((state_dict.get("snapshots"), state_dict.get("message")))
        except ValidationError as error:
            raise CheckpointError(f"the guard's part of the checkpoint is damaged: {first_problem(error)}") from None
        self.snapshots, self.message = state

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no hook behind."""
        self._release()

    def _release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._outputs, self._inputs, self._is_due = [], {}, None, False

    def _log(self, trainer: Trainer, snapshot: Snapshot) -> None:
        values = {
            "spread": snapshot.spread.get("backbone"),
            "rank": snapshot.rank.get("backbone"),
            "trivial_loss": snapshot.trivial_loss,
        }
        known = {name: value for name, value in values.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(known, step=trainer.global_step - 1)  # Lightning's rows carry the step just made

    def _tell(self, trainer: Trainer, model: SSLModule, inputs: Tensor | None) -> None:
        """Warn once; every rank judges its own batch, and rank 0 decides for all."""
        finding = judge(self.snapshots) if self.message is None else None
        if finding is not None:
            causes = likely_causes(model, finding.constant, inputs)
            numbered = "; ".join(f"({number}) {cause}" for number, cause in enumerate(causes, 1))
            self.message = f"{finding.sentence}. Likely causes: {numbered}"
            if trainer.is_global_zero:
                log.warning(self.message)
        if self.mode == "stop" and trainer.strategy.broadcast(self.message is not None):
            trainer.should_stop = True
