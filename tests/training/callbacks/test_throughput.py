"""Samples a second: counted, not guessed."""

from __future__ import annotations

import pytest

from ssl_registry.training.callbacks import Throughput
from ssl_registry.training.callbacks import throughput as throughput_module


@pytest.mark.parametrize("accumulate", [1, 2])
def test_rate_is_samples_by_time(fit, rows, monkeypatch, accumulate):
    """64 samples a batch, a quarter of a second for each on a clock of the test's own."""
    clock = [0.0]
    monkeypatch.setattr(throughput_module.time, "perf_counter", lambda: clock[0])

    class Ticking(Throughput):
        def on_train_batch_end(self, *arguments):
            clock[0] += 0.25
            super().on_train_batch_end(*arguments)

    limits = {"log_every_n_steps": 5, "accumulate_grad_batches": accumulate, "logger": rows}
    fit("simclr", Ticking(), steps=12, trainer=limits)
    assert rows.named("samples_per_second") == [(4, 256.0), (9, 256.0)]
