"""Samples without a label are left out of what is measured after training, and what diverges is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ssl_registry
from ssl_registry.errors import ConfigError, DataError
from ssl_registry.workflows.bench import markdown, run_cell, summarize

QUICK = {"limit_train_batches": 1, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("half")
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    y, y_test = np.array([0, 1, 2, -1] * 10), np.array([0, 1, 2, -1] * 5)
    np.savez(folder / "x.npz", X_train=x, y_train=y, X_test=x[:20], y_test=y_test)
    short = {"epochs": 1, "batch_size": 8, "knn": True, "report": False, "trainer": QUICK}
    return ssl_registry.train("simclr", data=str(folder / "x.npz"), out=folder / "run", **short).run


def test_what_has_no_label_is_not_measured(trained: Path) -> None:
    """Evaluation and fine-tuning count the labelled samples alone."""
    found = ssl_registry.evaluate(trained, protocols=("knn",), cache=False)
    assert (found.train, found.test) == (30, 15)
    tuned = ssl_registry.finetune(trained, epochs=1, out=trained / "t.safetensors", trainer={"accelerator": "cpu"})
    assert (tuned.train, tuned.test) == (30, 15)


def test_fine_tuning_that_diverges_ends_in_words(trained: Path, tmp_path: Path) -> None:
    """No figures of weights that are not finite, and no file of them."""
    options = {"epochs": 2, "learning_rate": 1e30, "trainer": {"accelerator": "cpu"}}
    with pytest.raises(DataError, match=r"fine-tuning the trained network: training has diverged.*--learning-rate"):
        ssl_registry.finetune(trained, out=tmp_path / "t.safetensors", **options)
    assert not (tmp_path / "t.safetensors").exists()


@pytest.mark.parametrize("wrong", [{"learning_rate": float("nan")}, {"layer_decay": -1.0}, {"weight_decay": -1.0}])
def test_rates_out_of_range(trained: Path, wrong: dict[str, float]) -> None:
    """Are refused before anything is opened."""
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}="):
        ssl_registry.finetune(trained, **wrong)


def test_a_cell_that_diverges_is_a_row(tmp_path: Path) -> None:
    """Beside the seeds that did not."""
    arguments = {"data": "digits", "epochs": 1, "batch_size": 64, "trainer": QUICK, "backbone": "test_resnet"}
    cells = []
    for seed, rate in ((0, 0.1), (1, 1e30)):
        options = {"learning_rate": rate, "optimizer": "sgd"}
        given = {**arguments, "seed": seed, "options": options}
        cell, _ = run_cell(tmp_path / str(seed), "simclr", given, protocols=("knn",))
        cells.append(cell)
    assert [cell.diverged for cell in cells] == [False, True]
    again, found = run_cell(tmp_path / "1", "simclr", given, protocols=("knn",))
    assert (again, found) == (cells[1], True)
    raw, row = summarize(cells)
    assert (raw.method, raw.seeds) == ("raw input", (0,))
    assert row.protocol == "knn"
    assert "(diverged: seed 1)" in markdown([row])
    (alone,) = summarize(cells[1:])
    assert "(diverged: seed 1)" in markdown([alone])
