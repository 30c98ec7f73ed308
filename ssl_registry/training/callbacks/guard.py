"""The collapse guard: notices early that a network gives every sample the same, and says why that may be."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from ssl_registry.errors import ConfigError
from ssl_registry.measures.collapse import effective_rank, feature_spread
from ssl_registry.model.module import SSLModule
from ssl_registry.run_options import GuardMode
from ssl_registry.training.callbacks.causes import likely_causes
from ssl_registry.training.callbacks.snapshots import Look, judge
from ssl_registry.training.callbacks.strategies import keeps_weights_whole
from ssl_registry.training.callbacks.trivial_loss import is_compiled, recompute_loss, trivial_loss

__all__ = ["CollapseGuard", "GuardMode"]

log = logging.getLogger(__name__)

# Optimizer steps between two looks: often at first, when runs collapse, and seldom later.
EARLY_EVERY, EARLY, EVERY = 10, 100, 100
# The trivial loss costs a forward pass: every so many looks.
BLIND_EVERY = 3
# An output is judged on at most so many samples: the SVD of more costs more than a step.
ROWS = 256
# With fewer rows or columns two vectors are soon alike.
LEAST = 8


class CollapseGuard(Callback):
    """Look at backbone and heads now and then; log a warning once, or stop the run, when they have collapsed.

    Signs, on the batch at hand: an output that trains and is the same for every sample (`feature_spread`); a loss that
    is no better than with a backbone that gives every sample the same, its trivial value; a loss that is not finite.
    ``spread`` and ``rank`` (RankMe) of the backbone are logged.

    The network is hooked at the steps of a look alone. No random number that training sees is drawn, and buffers
    are left as they were: weights are bit-identical with and without it.

    Args:
        mode: ``warn``, ``stop`` (the run ends behind this step as if it were its last), or ``off``.

    Attributes:
        message: what was said; None while all is well.
        looks: what was seen so far.
        seconds: that it took.

    Raises:
        ConfigError: for another mode.
    """

    def __init__(self, mode: GuardMode = "warn") -> None:
        if mode not in get_args(GuardMode):
            raise ConfigError(f"guard={mode!r} is not known; use {', '.join(map(repr, get_args(GuardMode)))}")
        self.mode = mode
        self.message: str | None = None
        self.looks: list[Look] = []
        self.seconds = 0.0
        self._handles: list[Any] = []
        self._outputs: dict[str, Tensor] = {}
        self._inputs: Tensor | None = None
        self._last_step = 0
        self._looks = False  # whether a look is due at the end of the batch at hand

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put hooks on the network for this batch, if a look is due."""
        step = trainer.global_step
        due = step > 0 and step % (EARLY_EVERY if step <= EARLY else EVERY) == 0
        # With accumulated gradients several batches begin at one step; the first is looked at.
        if self.mode == "off" or not due or step == self._last_step or not isinstance(pl_module, SSLModule):
            return
        self._last_step = step
        self._looks = True
        if not is_compiled(pl_module):
            self._hook(pl_module)

    def _hook(self, model: SSLModule) -> None:
        for name, part in (("backbone", model.backbone), *model.heads.items()):
            self._handles.append(part.register_forward_hook(self._keep_output_of(name)))

    def _keep_output_of(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            if name == "backbone" and self._inputs is None:
                self._inputs = inputs[0]
            # What does not train, such as a target, is not to blame.
            trains = isinstance(output, Tensor) and output.requires_grad
            if trains and name not in self._outputs and output.ndim == 2 and min(output.shape) >= LEAST:
                self._outputs[name] = output.detach()[:ROWS]

        return keep

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Judge what the hooks saw."""
        if not self._looks or not isinstance(pl_module, SSLModule):
            return
        started = time.perf_counter()
        with trainer.precision_plugin.train_step_context():
            if is_compiled(pl_module) and keeps_weights_whole(trainer):
                # A compiled network runs no hook that came later: the batch goes through it once more, uncompiled.
                self._hook(pl_module)
                recompute_loss(pl_module, batch, batch_idx)
            seen, inputs = self._outputs, self._inputs
            self._release()
            blind = None
            if len(self.looks) % BLIND_EVERY == BLIND_EVERY - 1 and keeps_weights_whole(trainer):
                blind = float(trivial_loss(pl_module, batch, batch_idx))
        look = Look(
            step=trainer.global_step,
            loss=float(outputs["loss"]) * trainer.accumulate_grad_batches,  # Lightning hands it out divided
            spread={name: float(feature_spread(output)) for name, output in seen.items()},
            rank={name: float(effective_rank(output)) for name, output in seen.items()},
            trivial_loss=blind,
        )
        self.looks.append(look)
        self._log(trainer, look)
        self._tell(trainer, pl_module, inputs)
        self.seconds += time.perf_counter() - started

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no hook behind."""
        self._release()

    def _release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._outputs, self._inputs, self._looks = [], {}, None, False

    def _log(self, trainer: Trainer, look: Look) -> None:
        values = {
            "spread": look.spread.get("backbone"),
            "rank": look.rank.get("backbone"),
            "trivial_loss": look.trivial_loss,
        }
        known = {name: value for name, value in values.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(known, step=trainer.global_step - 1)  # Lightning's rows carry the step just made

    def _tell(self, trainer: Trainer, model: SSLModule, inputs: Tensor | None) -> None:
        """Warn once; every rank looks at its own batch, and rank 0 decides for all."""
        finding = judge(self.looks) if self.message is None else None
        if finding is not None:
            causes = likely_causes(model, finding.constant, inputs)
            numbered = "; ".join(f"({number}) {cause}" for number, cause in enumerate(causes, 1))
            self.message = f"{finding.sentence}. Likely causes: {numbered}"
            if trainer.is_global_zero:
                log.warning(self.message)
        if self.mode == "stop" and trainer.strategy.broadcast(self.message is not None):
            trainer.should_stop = True
