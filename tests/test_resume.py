"""Stopping after any step and going on gives the weights of never having stopped, bit for bit."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from ssl_registry import registry
from ssl_registry.data import Source, SSLDataModule
from ssl_registry.errors import CheckpointError

# The runs that resume have no need for the callback that saved.
pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")

OPTIONS = {
    "byol": {"hidden_dim": 16, "projection_dim": 8, "lr_schedule": "cosine", "warmup_steps": 2},
    "simclr": {"projection_dim": 8, "lr_schedule": "cosine"},
    "lfr": {"num_candidates": 5, "num_targets": 2, "projection_dim": 8, "selection_batch_size": 8},
}


class Table(torch.utils.data.Dataset):
    def __init__(self):
        self.x = torch.randn(22, 6, generator=torch.Generator().manual_seed(5))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index]


def build(method):
    torch.manual_seed(11)
    backbone = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 8))
    return registry.create(method, backbone=backbone, input_shape=(6,), seed=7, **OPTIONS[method])


def fit(method, *, checkpoint=None, callbacks=(), **arguments):
    model = build(method)
    torch.manual_seed(torch.randint(1000, ()).item())  # the process's own random numbers must not matter
    trainer = Trainer(
        **{"max_epochs": 3} | arguments,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    source = Source("table", "table", (6,), Table())
    trainer.fit(model, datamodule=SSLDataModule(source, batch_size=4, seed=1), ckpt_path=checkpoint, weights_only=True)
    return model, trainer


def assert_same(first, second, hint):
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), f"{key} differs, {hint}"


@pytest.mark.parametrize("method", sorted(OPTIONS))
@pytest.mark.parametrize(
    ("accumulate", "limit"),
    [
        pytest.param(1, {"max_epochs": 3}, marks=pytest.mark.slow),
        pytest.param(1, {"max_steps": 7, "max_epochs": -1}, marks=pytest.mark.slow),
        pytest.param(2, {"max_epochs": 3}, marks=pytest.mark.slow),
        (2, {"max_steps": 7, "max_epochs": -1}),  # both at once
    ],
)
def test_resumes_from_every_step(method, accumulate, limit, tmp_path):
    """From each step's checkpoint: momentum, counters, selection, frozen phases, schedules, order, views, dropout."""
    save = ModelCheckpoint(
        tmp_path, "{epoch}-{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False
    )
    at_epoch_end = ModelCheckpoint(tmp_path, "end-{epoch}-{step}", save_top_k=-1, save_on_train_epoch_end=True)
    whole, trainer = fit(method, callbacks=[save, at_epoch_end], accumulate_grad_batches=accumulate, **limit)
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) >= trainer.global_step
    for checkpoint in checkpoints:
        resumed, _ = fit(method, checkpoint=checkpoint, accumulate_grad_batches=accumulate, **limit)
        assert_same(whole, resumed, f"resumed from {checkpoint.stem}")


def test_seed_of_the_checkpoint_wins(tmp_path):
    """A model that was created with another seed goes on with the saved one."""
    _, trainer = fit("simclr", max_epochs=1)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    model = build("simclr")
    model.seed = 12345
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.validate(model, torch.zeros(1, 4, 6), ckpt_path=tmp_path / "x.ckpt", verbose=False, weights_only=True)
    assert model.seed == 7


def test_another_methods_checkpoint_is_refused(tmp_path):
    """Resuming SimCLR from LFR's checkpoint says so."""
    _, trainer = fit("lfr", max_epochs=1)
    trainer.save_checkpoint(tmp_path / "lfr.ckpt")
    with pytest.raises(CheckpointError, match="holds 'lfr', it cannot go on as 'simclr'"):
        fit("simclr", checkpoint=tmp_path / "lfr.ckpt")
