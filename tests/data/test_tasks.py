"""Array files whose labels are no classes: numbers, and several labels at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.errors import DataError
from ssl_registry.model.batches import read_batch

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
NUMBERS = np.linspace(0.5, 9.7, 20)
SEVERAL = np.random.default_rng(1).integers(0, 2, (20, 3))


def opened(tmp_path, **arrays):
    np.savez(tmp_path / "data.npz", **arrays)
    return open_source(str(tmp_path / "data.npz"))


@pytest.mark.parametrize(
    ("y", "task", "dtype"),
    [
        (NUMBERS, "regression", torch.float64),
        (NUMBERS[:, None].repeat(3, 1), "regression", torch.float64),
        (SEVERAL, "multilabel", torch.int64),
        (SEVERAL.astype(bool), "multilabel", torch.int64),
    ],
)
def test_told_by_the_values(tmp_path, y, task, dtype):
    """They come with the samples, a share is held out, and there are no classes."""
    source = opened(tmp_path, X=X, y=y)
    assert (source.task, source.classes, source.labeled) == (task, None, False)
    assert (len(source.train), len(source.test)) == (16, 4)
    targets = source.train[0][1]
    assert targets.dtype == dtype
    assert targets.shape == y.shape[1:]


@pytest.mark.parametrize("y", [np.arange(20) % 3, (np.arange(20) % 3).astype(float), np.array(["a", "b"] * 10)])
def test_classes_stay_classes(tmp_path, y):
    """Whole numbers in floats and text are what they were."""
    source = opened(tmp_path, X=X, y=y)
    assert source.task == "classification"
    assert source.classes is not None


def test_one_hot_rows_ask_for_a_word(tmp_path):
    """Rows with one 1 each are classes in another form, and the error says how to store them."""
    with pytest.raises(DataError, match="argmax"):
        opened(tmp_path, X=X, y=np.eye(3, dtype=int)[np.arange(20) % 3])


def test_targets_are_no_second_view(tmp_path):
    """A batch of table rows with as many targets as features is still samples and labels."""
    source = opened(tmp_path, X=X, y=NUMBERS[:, None].repeat(3, 1))
    batch = next(iter(SSLDataModule(source, batch_size=8).train_dataloader()))
    assert len(read_batch(batch, (3,))) == 1


def test_parts_must_agree(tmp_path):
    """Targets of another width, or in one part alone, are refused."""
    with pytest.raises(DataError, match="one shape"):
        opened(tmp_path, X=X, y=NUMBERS[:, None].repeat(3, 1), X_test=X, y_test=NUMBERS[:, None].repeat(2, 1))
    with pytest.raises(DataError, match="expected both or neither"):
        opened(tmp_path, X=X, y=NUMBERS, X_test=X)
