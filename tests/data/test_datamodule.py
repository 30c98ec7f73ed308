"""A source for Lightning's Trainer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.samples import Samples
from ssl_registry.errors import ConfigError, DataError

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
    # Lightning 2.6 walks trees in a way that newer torch deprecates.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
]


def table(count: int = 10, *, labeled: bool = True, tested: bool = True) -> Source:
    x = torch.arange(count, dtype=torch.float32)[:, None]
    samples = Samples(x, torch.arange(count)) if labeled else Samples(x)
    classes = tuple(map(str, range(count))) if labeled else None
    return Source("table", "table", (1,), samples, samples if tested else None, classes)


class Seeing(LightningModule):
    """Remembers the samples that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.trained: list[float] = []
        self.validated: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.trained += batch[0].flatten().tolist()
        return self.linear(batch[0]).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated += batch[0].flatten().tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(data: SSLDataModule, **arguments: Any) -> Seeing:
    model = Seeing()
    Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **arguments,
    ).fit(model, datamodule=data)
    return model


def test_training_and_validation() -> None:
    """Each epoch trains on full batches in another order and validates on the whole test part in order."""
    model = fit(SSLDataModule(table(), batch_size=4), max_epochs=2)
    first, second = model.trained[:8], model.trained[8:]
    assert len(set(first)) == len(set(second)) == 8
    assert first != second
    assert model.validated == [float(number) for number in range(10)] * 2


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")  # Lightning's, of an empty list
def test_without_a_test_part() -> None:
    """There is nothing to validate on, and training goes on without."""
    data = SSLDataModule(table(tested=False), batch_size=4)
    assert data.val_dataloader() == data.test_dataloader() == []
    model = fit(data, max_epochs=1)
    assert model.validated == []
    assert len(model.trained) == 8


def test_evaluation_sees_everything_in_order() -> None:
    """No sample is dropped or shuffled for evaluation."""
    data = SSLDataModule(table(), batch_size=4)
    for loader in (data.train_eval_dataloader(), data.test_dataloader()):
        assert [y.tolist() for _, y in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_limited_evaluation_is_spread() -> None:
    """A limit takes samples from all over, since classes often lie one after the other."""
    data = SSLDataModule(table(), batch_size=4)
    assert [y.tolist() for _, y in data.train_eval_dataloader(limit=5)] == [[0, 2, 4, 6], [8]]
    assert len(torch.cat([y for _, y in data.train_eval_dataloader(limit=99)])) == 10


def test_limited_evaluation_has_each_class() -> None:
    """Where labels are known, each class has its share, in whatever order its samples lie; the same each time."""
    generator = torch.Generator().manual_seed(0)
    y = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)[torch.randperm(100, generator=generator)]
    samples = Samples(torch.arange(100.0)[:, None], y)
    data = SSLDataModule(Source("table", "table", (1,), samples, samples, ("a", "b", "c")), batch_size=4)
    for loader in (data.train_eval_dataloader(limit=10), data.test_dataloader(limit=10)):
        assert torch.cat([labels for _, labels in loader]).bincount().tolist() == [6, 3, 1]
    first, second = (torch.cat([x for x, _ in data.train_eval_dataloader(limit=10)]) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first, first.sort(dim=0).values)


def test_evaluation_leaves_the_global_generator_alone() -> None:
    """An evaluation in the midst of training does not change what follows."""
    data = SSLDataModule(table(), batch_size=4)
    before = torch.get_rng_state()
    list(data.train_eval_dataloader())
    list(data.test_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_unlabelled_batches_are_tensors() -> None:
    """Without labels a batch is the samples alone."""
    data = SSLDataModule(table(labeled=False), batch_size=4)
    for loader in (data.train_dataloader(), data.train_eval_dataloader()):
        batch = next(iter(loader))
        assert isinstance(batch, Tensor)
        assert batch.shape == (4, 1)


def test_seed_decides_the_order() -> None:
    """The same seed gives the same batches, another one others."""
    orders = [
        torch.cat([y for _, y in SSLDataModule(table(), batch_size=5, seed=seed).train_dataloader()]).tolist()
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_overfit_batches() -> None:
    """Lightning's own debugging aid rebuilds the loader with a sequential sampler."""
    model = fit(SSLDataModule(table(), batch_size=4), overfit_batches=1, max_epochs=2, limit_val_batches=0)
    assert model.trained == [0.0, 1.0, 2.0, 3.0] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"batch_size": True}, "batch_size=True"),
        ({"num_workers": -1}, "num_workers=-1 must be a whole number of at least 0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_numbers_are_checked(arguments: dict[str, Any], message: str) -> None:
    """A number out of range is told at once."""
    with pytest.raises(ConfigError, match=message):
        SSLDataModule(table(), **arguments)


def test_no_samples() -> None:
    """A source without training samples is told at once."""
    with pytest.raises(DataError, match="table has no training samples"):
        SSLDataModule(table(0))


def test_a_limit_leaves_out_what_has_no_label() -> None:
    """Measurements look at labelled samples, however many others are trained on."""
    labels = torch.tensor([-1] * 90 + [0, 1] * 5)
    source = Source("x", "table", (1,), Samples(torch.arange(100.0)[:, None], labels), classes=("a", "b"))
    loader = SSLDataModule(source).train_eval_dataloader(limit=6)
    found = torch.cat([y for _, y in loader])
    assert torch.bincount(found).tolist() == [3, 3]
