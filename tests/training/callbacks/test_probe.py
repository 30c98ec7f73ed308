"""The online probe: what it logs, that it keeps its budget, and that training does not notice it."""

from __future__ import annotations

import pytest
import torch

from ssl_registry.data import SSLDataModule
from ssl_registry.errors import ConfigError
from ssl_registry.measures.quick import QuickProbe, quick_probe
from ssl_registry.testing.processes import run_in_two
from ssl_registry.training.callbacks import OnlineProbe
from ssl_registry.training.callbacks import probe as probe_module
from ssl_registry.workflows.train import train

ALL = {"budget": 1e9}  # so that every epoch is measured


def test_logs_accuracies_at_the_given_epochs(fit, source, rows):
    """Every second of five epochs, at the step that ended it, equal to a measurement of the same weights."""
    probe = OnlineProbe(every=2, **ALL)
    model, _ = fit("simclr", probe, steps=80, trainer={"logger": rows})
    recompute_loss = quick_probe(model.embed, SSLDataModule(source), None)
    assert [step for step, _ in rows.named("knn_accuracy")] == [39, 79]
    assert rows.named("knn_accuracy")[-1][1] == recompute_loss.knn > 0.7
    assert rows.named("linear_accuracy")[-1][1] == recompute_loss.linear > 0.7
    assert rows.named("probe_share")[-1][1] > 0


@pytest.mark.parametrize("method", ["byol", "lfr"])
def test_weights_are_bit_identical_with_and_without_it(fit, source, method):
    """Neither random numbers nor train mode nor statistics are touched."""
    probe = OnlineProbe(**ALL)
    first, _ = fit(method, probe, steps=50)
    second, _ = fit(method, steps=50)
    assert probe.seconds > 0
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


def test_budget_spaces_measurements_out(fit, source, monkeypatch):
    """A measurement that takes two epochs' time at a budget of a half comes every fourth epoch or later."""
    clock = [0.0]
    monkeypatch.setattr(probe_module.time, "perf_counter", lambda: clock[0])
    measured = []

    class Epochs(OnlineProbe):
        def on_train_epoch_end(self, trainer, pl_module):
            clock[0] += 1.0
            super().on_train_epoch_end(trainer, pl_module)

    def measure(embed, datamodule, device, *, samples):
        measured.append(clock[0])
        clock[0] += 2.0
        return QuickProbe(0.5, 0.5, 2.0)

    monkeypatch.setattr(probe_module, "quick_probe", measure)
    probe = Epochs(budget=0.5, expected=2.0)
    fit("simclr", probe, steps=20 * 9)
    assert measured == [4.0, 10.0]  # after 4 and 8 epochs' training
    assert probe.share <= 0.5


def test_unaffordable_measurement_is_left_out(fit, source):
    """A probe that costs more than the whole budget is never made."""
    probe = OnlineProbe(expected=1e9)
    fit("simclr", probe, steps=20)
    assert (probe.last, probe.seconds) == (None, 0.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"every": -1}, "probe_every=-1 must be 0"), ({"budget": 0.0}, "probe_budget=0.0 must be above 0")],
)
def test_wrong_options(source, wrong, message):
    """Told with what is allowed."""
    with pytest.raises(ConfigError, match=message):
        OnlineProbe(**wrong)


def on_rank(rank: int, folder: str, network: str) -> None:
    train(
        "simclr",
        backbone=network,
        epochs=3,
        batch_size=64,
        out=f"{folder}/run",
        options={"projection_dim": 16},
        probe_budget=1e9,
        guard="stop",
        report=False,
        trainer={"accelerator": "cpu", "devices": 2, "enable_progress_bar": False},
    )


def test_two_processes_do_not_wait_for_ever(tmp_path, network):
    """Rank 0 measures alone while rank 1 goes on to its next collective operation; the guard asks all ranks."""
    assert [(outcome.error, outcome.hung) for outcome in run_in_two(on_rank, str(tmp_path), network)] == [
        ("", False),
        ("", False),
    ]
    (table,) = (tmp_path / "run/metrics").rglob("metrics.csv")
    header, *lines = table.read_text().splitlines()
    column = header.split(",").index("knn_accuracy")
    assert sum(bool(line.split(",")[column]) for line in lines) == 3


def test_looks_at_a_bounded_sample_and_says_so(tmp_path, network, caplog):
    """``probe_samples`` of each part; what is measured and how much of it there is are told once."""
    caplog.set_level("INFO", logger="ssl_registry")
    run = {"out": tmp_path / "run", "report": False, "guard": "off", "probe_samples": 50}
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "max_steps": 2}
    result = train("simclr", backbone=network, options={"projection_dim": 8}, trainer=quiet, **run)
    assert "look at 50 of 1,300 training and 50 of 497 held-out samples (--probe-samples)" in caplog.text
    assert result.knn["pixels"] * 50 == pytest.approx(round(result.knn["pixels"] * 50))
