"""When the guard of divergence looks: rarely, and not in between."""

from __future__ import annotations

import pytest
import torch
from tiny import Tiny, fit, loader, make

from ssl_registry.errors import ConfigError
from ssl_registry.training.callbacks import DivergenceGuard

READS = ("item", "tolist", "__bool__", "__int__", "__float__")


@pytest.fixture
def reads(monkeypatch):
    """The reads of values of tensors so far; on CUDA each waits for the device."""
    seen = []
    for name in READS:
        read = getattr(torch.Tensor, name)

        def counted(tensor, read=read, name=name):
            seen.append(name)
            return read(tensor)

        monkeypatch.setattr(torch.Tensor, name, counted)
    return seen


def steps_with_reads(mode, reads, **arguments):
    """Return the steps in which the guard's own hooks read something."""
    found = set()

    class Counted(DivergenceGuard):
        def on_train_batch_start(self, trainer, *rest):
            before = len(reads)
            super().on_train_batch_start(trainer, *rest)
            found.update({trainer.global_step + 1} if len(reads) > before else ())

        def on_train_batch_end(self, trainer, *rest):
            before = len(reads)
            super().on_train_batch_end(trainer, *rest)
            found.update({trainer.global_step} if len(reads) > before else ())

    fit(make(Tiny), loader(samples=48), callbacks=[Counted(mode)], max_epochs=1, **arguments)
    return found


@pytest.mark.parametrize(("mode", "steps"), [("warn", {1, 5, 10}), ("stop", {1, 5, 10}), ("off", {1})])
def test_values_are_read_when_lightning_logs(mode, steps, reads):
    """Once before the first step, and then at every fifth of twelve; with the guard off nevermore."""
    assert steps_with_reads(mode, reads, log_every_n_steps=5) == steps


def test_batches_of_one_step_are_read_together(reads):
    """With accumulated gradients the steps count, not the batches."""
    assert steps_with_reads("warn", reads, log_every_n_steps=2, accumulate_grad_batches=2) == {1, 2, 4, 6}


def test_a_run_that_logs_rarely_is_looked_at_all_the_same(reads, monkeypatch):
    """So that little is kept, and a divergence is told in time."""
    monkeypatch.setattr("ssl_registry.training.callbacks.divergence.MOST_STEPS", 4)
    assert steps_with_reads("warn", reads, log_every_n_steps=1000) == {1, 4, 8, 12}


def test_unknown_mode_is_refused():
    """With the modes there are."""
    with pytest.raises(ConfigError, match="guard='loud' is not known; use 'warn', 'stop', 'off'"):
        DivergenceGuard("loud")
