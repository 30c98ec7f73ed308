"""k-NN and a linear probe while a run trains, within a budget of time."""

from __future__ import annotations

import time

from lightning.pytorch import Callback, LightningModule, Trainer

from ssl_registry.data import SSLDataModule
from ssl_registry.errors import ConfigError
from ssl_registry.measures.quick import MAX_SAMPLES, QuickProbe, can_probe, quick_probe
from ssl_registry.model.module import SSLModule
from ssl_registry.training.callbacks.recompute import keeps_weights_whole

__all__ = ["OnlineProbe"]

# Other ranks wait for rank 0 at their next collective operation, which gives up after ten minutes.
LONGEST_WAIT = 300.0


class OnlineProbe(Callback):
    """Log ``knn_accuracy`` and ``linear_accuracy`` of the backbone at the ends of epochs.

    It times itself, and leaves an epoch out whenever measuring would bring its cost above its share of the time spent
    training; ``probe_share`` is logged. Rank 0 measures alone, without a collective operation, and no random
    number of training is drawn: weights are bit-identical with and without it.

    Without an `SSLDataModule` of a labelled source with a held-out part it does nothing.

    Args:
        every: epochs between two measurements; 0 for none.
        budget: share of the time spent training that all measurements may take.
        expected: seconds that one takes, as measured before; 0 where not known.
        samples: at most so many of each part are looked at, see `quick_probe`.

    Attributes:
        seconds: spent measuring.
        share: that part of the time spent training.
        last: the latest measurement.

    Raises:
        ConfigError: if ``every`` or ``budget`` is out of range.
    """

    def __init__(
        self, *, every: int = 1, budget: float = 0.03, expected: float = 0.0, samples: int = MAX_SAMPLES
    ) -> None:
        if every < 0:
            raise ConfigError(f"probe_every={every} must be 0 or more epochs")
        if not budget > 0:
            raise ConfigError(f"probe_budget={budget} must be above 0, a share of the time spent training")
        self.every = every
        self.budget = budget
        self.expected = expected
        self.samples = samples
        self.seconds = 0.0
        self.last: QuickProbe | None = None
        self._started = time.perf_counter()

    @property
    def share(self) -> float:
        """What part of the time spent training the measurements took."""
        return self.seconds / max(time.perf_counter() - self._started - self.seconds, 1e-9)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.seconds, self._started = 0.0, time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, if it is time and there is time."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set in a helper: mypy does not see it
        if not (isinstance(pl_module, SSLModule) and isinstance(data, SSLDataModule) and can_probe(data.source)):
            return
        if not trainer.is_global_zero or not self._is_due(trainer):
            return
        self.last = quick_probe(pl_module.embed, data, pl_module.device, samples=self.samples)
        self.expected = self.last.seconds
        self.seconds += self.last.seconds
        values = {"knn_accuracy": self.last.knn, "probe_share": self.share}
        if self.last.linear is not None:
            values["linear_accuracy"] = self.last.linear
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step - 1)

    def _is_due(self, trainer: Trainer) -> bool:
        if not self.every or (trainer.current_epoch + 1) % self.every:
            return False
        if not keeps_weights_whole(trainer):
            return False
        if trainer.world_size > 1 and self.expected > LONGEST_WAIT:
            return False
        trained = time.perf_counter() - self._started - self.seconds
        return self.seconds + self.expected <= self.budget * trained
