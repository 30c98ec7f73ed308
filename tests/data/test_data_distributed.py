"""Two real processes: each rank its share, and a checkpoint that both go on from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.loading.loader import training_loader
from ssl_registry.data.samples import Samples
from ssl_registry.data.sampling import EpochSampler
from ssl_registry.testing.processes import run_in_two


class Tiny(LightningModule):
    """Remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 2)
        self.seen: list[list[int]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, number = batch
        self.seen.append(number.tolist())
        return self.linear(x).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def source() -> Source:
    x = torch.randn(26, 3, generator=torch.Generator().manual_seed(1))
    samples = Samples(x, torch.arange(26))
    return Source("table", "table", (3,), samples, samples, classes=tuple("abcdefghijklmnopqrstuvwxyz"))


def fit(folder: Path, checkpoint: Path | None = None) -> tuple[Tiny, Trainer]:
    saves = [] if checkpoint else [ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)]
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=2,
        logger=False,
        callbacks=saves,
        enable_checkpointing=bool(saves),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Tiny()
    trainer.fit(
        model,
        datamodule=SSLDataModule(source(), batch_size=4, seed=3),
        ckpt_path=checkpoint,
        weights_only=True,
    )
    return model, trainer


def on_rank(rank: int, folder: str) -> dict[str, Any]:
    warnings.simplefilter("ignore")  # Lightning's, about data loaders and validation on two ranks
    whole, trainer = fit(Path(folder))
    resumed = [fit(Path(folder), Path(folder) / f"step={step}.ckpt")[0] for step in (2, 3, 4)]
    return {
        "seen": whole.seen,
        "sampler": type(trainer.train_dataloader.sampler).__name__,
        "tails": [model.seen for model in resumed],
        "same": [torch.equal(whole.linear.weight, model.linear.weight) for model in resumed],
    }


@pytest.mark.slow  # starts two processes, several times
def test_two_processes(tmp_path: Path) -> None:
    """Orders are those of the pure function; going on from any step ends in the same weights."""
    outcomes = run_in_two(on_rank, str(tmp_path))
    assert [outcome.error for outcome in outcomes] == ["", ""]
    ranks = [outcome.value for outcome in outcomes]
    for rank, found in enumerate(ranks):
        loader = training_loader(source().train, batch_size=4, seed=3, rank=rank, world_size=2)
        expected = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            expected += [number.tolist() for _, number in loader]
        assert found["seen"] == expected
        assert found["sampler"] == EpochSampler.__name__
        assert found["tails"] == [expected[2:], expected[3:], expected[4:]]
        assert found["same"] == [True, True, True]
    first_epoch = [number for found in ranks for batch in found["seen"][:3] for number in batch]
    assert len(set(first_epoch)) == len(first_epoch) == 24
