"""How many steps a run has, which schedules run along: counted where it can be, told or refused elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning import LightningDataModule
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from ssl_registry import registry
from ssl_registry.errors import BackboneError, BatchError, ConfigError
from ssl_registry.model.module import SSLModule

SAMPLES = torch.randn(32, 6)


class Stream(IterableDataset[Tensor]):
    """Samples without a length."""

    def __iter__(self) -> Iterator[Tensor]:
        yield from SAMPLES


class Growing(LightningDataModule):
    """A loader that is longer in each epoch."""

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        return DataLoader(SAMPLES[: 8 * (self.trainer.current_epoch + 1)], batch_size=4)  # type: ignore[arg-type]


class Rates(Callback):
    """Keeps the learning rate behind each step."""

    def __init__(self) -> None:
        self.found: dict[int, float] = {}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Read it."""
        self.found[trainer.global_step] = trainer.optimizers[0].param_groups[0]["lr"]


def fit(loader: Any, *callbacks: Callback, schedule: str = "cosine", **options: Any) -> dict[int, float]:
    """Train and return the rates."""
    model = registry.create(
        "simclr",
        backbone=nn.Sequential(nn.Linear(6, 4)),
        input_shape=(6,),
        learning_rate=1.0,
        lr_schedule=schedule,
        warmup_steps=0,
    )
    rates = Rates()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    Trainer(accelerator="cpu", callbacks=[rates, *callbacks], **{**quiet, **options}).fit(model, loader)
    return rates.found


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(SAMPLES, batch_size=4, **options)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:When using `Trainer.accumulate_grad_batches")
@pytest.mark.parametrize("factors", [{0: 1, 2: 4}, {0: 4, 2: 1}, {0: 3}])
def test_accumulation_that_changes_is_counted(factors: dict[int, int]) -> None:
    """The cosine reaches its end with the last step, and half of it at half of them."""
    rates = fit(loader(), GradientAccumulationScheduler(factors), max_epochs=4)
    last = max(rates)
    assert rates[last] == pytest.approx(0, abs=1e-6)
    expected = {step: 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / last)).item()) for step in rates}
    assert rates == pytest.approx(expected, abs=1e-6)


def test_a_loader_without_length_needs_max_steps() -> None:
    """Lightning answers -1; a cosine over that had a rate of 0 from the second step on."""
    with pytest.raises(ConfigError, match="max_steps where the loader has no length"):
        fit(DataLoader(Stream(), batch_size=4), max_epochs=2)
    assert fit(DataLoader(Stream(), batch_size=4), max_epochs=-1, max_steps=6)[3] == pytest.approx(0.5)
    constant = fit(DataLoader(Stream(), batch_size=4), max_epochs=1, schedule="constant")
    assert set(constant.values()) == {1.0}
    assert max(constant) == 8


def test_loaders_that_grow_are_refused() -> None:
    """In the epoch whose length differs; with max_steps the end is known."""
    with pytest.raises(BatchError, match=r"epoch 1 has 4 batches, the first one had 2.*give the Trainer max_steps"):
        fit(Growing(), max_epochs=4, reload_dataloaders_every_n_epochs=1)
    rates = fit(Growing(), max_epochs=-1, max_steps=12, reload_dataloaders_every_n_epochs=1)
    assert rates[6] == pytest.approx(0.5)


def test_lightnings_way_to_load_is_told() -> None:
    """It lacks the method; the error names what has it."""
    with pytest.raises(ConfigError, match=r"registry.load\('x.ckpt'\)"):
        SSLModule.load_from_checkpoint("x.ckpt")


def test_heads_beyond_all_memory_are_told() -> None:
    """By the width of the features, where an allocator's words say nothing."""
    with pytest.raises(BackboneError, match=r"the heads do not fit into memory: .* 900,000,000 features"):
        registry.create("simclr", backbone=Wide(), input_shape=(6,))


class Wide(nn.Module):
    """Features that take no memory themselves."""

    def forward(self, x: Tensor) -> Tensor:
        """Repeat the first number."""
        return x[:, :1].expand(-1, 900_000_000)


def test_a_step_without_a_trainer() -> None:
    """As loops of one's own and Fabric call it: it gives the loss and logs nothing."""
    model = registry.create("simclr", backbone=nn.Sequential(nn.Linear(6, 4)), input_shape=(6,))
    loss = model.training_step(SAMPLES, 0)
    loss.backward()
    assert loss.isfinite()


def test_a_trainer_fits_again_where_it_stopped() -> None:
    """More epochs after the end of a run go on at their place of the longer cosine, not at its start."""
    model = registry.create(
        "simclr",
        backbone=nn.Sequential(nn.Linear(6, 4)),
        input_shape=(6,),
        learning_rate=1.0,
        lr_schedule="cosine",
        warmup_steps=0,
    )
    rates = Rates()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(accelerator="cpu", callbacks=[rates], max_epochs=1, **quiet)  # type: ignore[arg-type]
    trainer.fit(model, loader())
    trainer.fit_loop.max_epochs = 4
    trainer.fit(model, loader())
    whole = fit(loader(), max_epochs=4)
    # The first epoch was the whole of its own run; from the second on, the rates are those of four epochs.
    assert {step: rate for step, rate in rates.found.items() if step > 8} == pytest.approx(
        {step: rate for step, rate in whole.items() if step > 8}
    )
    assert len(rates.found) == 32
