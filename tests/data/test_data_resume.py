"""Going on from a checkpoint gives the weights of never having stopped, wherever it was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.samples import Samples
from ssl_registry.errors import CheckpointError

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    # What Lightning says of a source without a test part.
    pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero"),
    # Lightning 2.6 walks trees in a way that newer torch deprecates.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
    # Python 3.12 warns of every fork of a process with threads, and torch has threads.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

EPOCHS = {"max_epochs": 3}
STEPS = {"max_steps": 13, "max_epochs": -1}  # ends inside the third epoch


class Tiny(LightningModule):
    """A linear map that is pulled to zero, and remembers which samples it saw when."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 2)
        self.seen: list[tuple[Any, ...]] = []
        self.epochs_begun: list[int] = []

    def on_train_epoch_start(self) -> None:
        self.epochs_begun.append(self.current_epoch)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        x, number = batch
        self.seen.append((self.current_epoch, batch_idx, self.trainer.global_step, *number.tolist()))
        return self.linear(x).square().mean()

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        torch.rand(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def table(*, tested: bool) -> Source:
    x = torch.randn(26, 3, generator=torch.Generator().manual_seed(1))
    samples = Samples(x, torch.arange(26))
    return Source(
        "table",
        "table",
        (3,),
        samples,
        samples if tested else None,
        classes=tuple("abcdefghijklmnopqrstuvwxyz"),
    )


def run(
    model: Tiny,
    *,
    checkpoint: Path | None = None,
    save: Sequence[Callback] = (),
    num_workers: int = 0,
    batch_size: int = 5,
    seed: int = 3,
    validate: bool = False,
    **limits: Any,
) -> Trainer:
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=list(save),
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in save),
        enable_progress_bar=False,
        enable_model_summary=False,
        **limits,
    )
    data = SSLDataModule(table(tested=validate), batch_size=batch_size, num_workers=num_workers, seed=seed)
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return trainer


def every_step(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, "step-{epoch}-{step}", every_n_train_steps=1, save_top_k=-1)


def every_epoch(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, "end-{epoch}-{step}", save_top_k=-1, save_on_train_epoch_end=True)


def after_validation(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, "val-{epoch}-{step}", save_top_k=-1, save_on_train_epoch_end=False)


class EveryBatch(Callback):
    """Saves between the batches of one step too, as a save by the clock may."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}-{trainer.fit_loop.batch_idx}.ckpt")


def assert_went_on(whole: Tiny, resumed: Tiny, where: object) -> None:
    """The resumed run saw the end of what the whole run saw, and came out the same."""
    assert whole.seen[len(whole.seen) - len(resumed.seen) :] == resumed.seen, where
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), where


@pytest.mark.parametrize("limits", [EPOCHS, STEPS], ids=["epochs", "steps"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("validate", [False, True], ids=["", "validated"])
def test_from_every_checkpoint(validate: bool, accumulate: int, limits: dict[str, int], tmp_path: Path) -> None:
    """After each step, each epoch's end and each validation; and no run is repeated from its start."""
    limits = {**limits, "accumulate_grad_batches": accumulate, "validate": validate}
    whole = Tiny()
    saves = [every_step(tmp_path), (after_validation if validate else every_epoch)(tmp_path)]
    run(whole, save=saves, **limits)
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) >= 9 + 3
    for checkpoint in checkpoints:
        resumed = Tiny()
        run(resumed, checkpoint=checkpoint, **limits)
        assert_went_on(whole, resumed, checkpoint.stem)
        assert len(resumed.seen) < len(whole.seen)


@pytest.mark.parametrize("limits", [EPOCHS, STEPS], ids=["epochs", "steps"])
def test_from_a_resumed_run(limits: dict[str, int], tmp_path: Path) -> None:
    """Interrupted twice: at an epoch's last step, then at each checkpoint of what followed."""
    whole = Tiny()
    run(whole, save=[every_step(tmp_path)], **limits)
    again = Tiny()
    run(again, checkpoint=tmp_path / "step-epoch=0-step=5.ckpt", save=[every_step(tmp_path / "2")], **limits)
    checkpoints = sorted((tmp_path / "2").glob("*.ckpt"))
    assert len(checkpoints) == len(again.seen) > 0
    for checkpoint in checkpoints:
        resumed = Tiny()
        run(resumed, checkpoint=checkpoint, **limits)
        assert_went_on(whole, resumed, checkpoint.stem)


@pytest.mark.parametrize("checkpoint", ["step-epoch=0-step=3", "step-epoch=0-step=5"])
def test_with_workers(checkpoint: str, tmp_path: Path) -> None:
    """Workers load ahead; what they loaded and nobody saw is loaded again."""
    whole = Tiny()
    run(whole, save=[every_step(tmp_path)], num_workers=2, max_epochs=2)
    resumed = Tiny()
    run(resumed, checkpoint=tmp_path / f"{checkpoint}.ckpt", num_workers=2, max_epochs=2)
    assert_went_on(whole, resumed, checkpoint)


def test_between_the_batches_of_a_step(tmp_path: Path) -> None:
    """Gradients are not saved: the batches since the last optimizer step come again."""
    whole = Tiny()
    run(whole, save=[EveryBatch(tmp_path)], accumulate_grad_batches=2, max_epochs=2)
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) == 10
    seen = []
    for checkpoint in checkpoints:
        resumed = Tiny()
        run(resumed, checkpoint=checkpoint, accumulate_grad_batches=2, max_epochs=2)
        assert_went_on(whole, resumed, checkpoint.stem)
        seen.append(len(resumed.seen))
    # Steps are made after the batches 2, 4 and 5 of an epoch; so many of 10 are left.
    assert sorted(seen, reverse=True) == [10, 8, 8, 6, 5, 5, 3, 3, 1, 0]


class SavesOnException(Callback):
    """What a run that is killed leaves behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer: Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.path)


class FailsOnce(Tiny):
    """Fails in one training step."""

    def __init__(self, fail_at: int) -> None:
        super().__init__()
        self.fail_at = fail_at

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if len(self.seen) == self.fail_at:
            raise RuntimeError("out of luck")
        return loss


@pytest.mark.parametrize("fail_at", [1, 3, 5, 6, 9])
def test_after_an_exception(fail_at: int, tmp_path: Path) -> None:
    """A batch that was handed out and not trained on comes again; also when a run fails twice."""
    whole = Tiny()
    run(whole, **EPOCHS)
    with pytest.raises(RuntimeError, match="out of luck"):
        run(FailsOnce(fail_at), save=[SavesOnException(tmp_path / "first.ckpt")], **EPOCHS)
    with pytest.raises(RuntimeError, match="out of luck"):
        run(
            FailsOnce(4),
            checkpoint=tmp_path / "first.ckpt",
            save=[SavesOnException(tmp_path / "second.ckpt")],
            **EPOCHS,
        )
    resumed = Tiny()
    run(resumed, checkpoint=tmp_path / "second.ckpt", **EPOCHS)
    assert_went_on(whole, resumed, fail_at)
    assert len(resumed.seen) == 15 - (fail_at - 1) - 3


class StopsAt(Tiny):
    """Ends its run from inside, after some batches."""

    def on_train_batch_end(self, *_: Any) -> None:
        if len(self.seen) == 7:
            self.trainer.should_stop = True


@pytest.mark.parametrize("longer", [EPOCHS, STEPS], ids=["epochs", "steps"])
@pytest.mark.parametrize("modality", [Tiny, StopsAt])
def test_a_finished_run_goes_on(modality: type[Tiny], longer: dict[str, int], tmp_path: Path) -> None:
    """A run that a limit ended inside an epoch continues that epoch under a larger limit."""
    whole = Tiny()
    run(whole, **longer)
    shorter = EPOCHS if modality is StopsAt else {"max_steps": 7}
    trainer = run(modality(), **shorter)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    resumed = Tiny()
    run(resumed, checkpoint=tmp_path / "end.ckpt", **longer)
    assert_went_on(whole, resumed, modality.__name__)
    assert len(resumed.seen) == len(whole.seen) - 7


def test_a_finished_run_stays_finished(tmp_path: Path) -> None:
    """The same limits again train nothing more."""
    for limits in (EPOCHS, STEPS):
        trainer = run(Tiny(), **limits)
        trainer.save_checkpoint(tmp_path / "end.ckpt")
        resumed = Tiny()
        run(resumed, checkpoint=tmp_path / "end.ckpt", **limits)
        assert resumed.seen == []


def test_limited_epochs(tmp_path: Path) -> None:
    """Epochs that `limit_train_batches` cuts short are followed by the next epoch's order."""
    limits = {**EPOCHS, "limit_train_batches": 3}
    whole = Tiny()
    run(whole, save=[every_step(tmp_path)], **limits)
    for checkpoint in sorted(tmp_path.glob("*.ckpt")):
        resumed = Tiny()
        run(resumed, checkpoint=checkpoint, **limits)
        assert_went_on(whole, resumed, checkpoint.stem)


@pytest.mark.parametrize("limits", [EPOCHS, STEPS], ids=["epochs", "steps"])
def test_each_epoch_begins_once(limits: dict[str, int], tmp_path: Path) -> None:
    """Resumed after an epoch's last step, the next epoch is announced like any other."""
    run(Tiny(), save=[every_step(tmp_path), every_epoch(tmp_path)], **limits)
    for name in ("step-epoch=0-step=5", "end-epoch=0-step=5"):
        resumed = Tiny()
        run(resumed, checkpoint=tmp_path / f"{name}.ckpt", **limits)
        assert resumed.epochs_begun == [1, 2], name


class Snapshots(Tiny):
    """Looks at the training data with an iterator of its own before it trains."""

    def on_train_start(self) -> None:
        next(iter(self.trainer.train_dataloader))


def test_a_look_at_the_data_changes_nothing(tmp_path: Path) -> None:
    """A method may sample its training data at the start; the position in the epoch stays."""
    whole = Tiny()
    run(whole, save=[every_step(tmp_path)], **EPOCHS)
    for checkpoint in (None, tmp_path / "step-epoch=1-step=7.ckpt"):
        looking = Snapshots()
        run(looking, checkpoint=checkpoint, **EPOCHS)
        assert_went_on(whole, looking, checkpoint)


@pytest.mark.parametrize("changed", [{"batch_size": 4}, {"seed": 4}])
def test_other_batches_are_refused_inside_an_epoch(changed: dict[str, int], tmp_path: Path) -> None:
    """The rest of an epoch cannot be taken from another order; the next epoch can."""
    run(Tiny(), save=[every_step(tmp_path)], **EPOCHS)
    with pytest.raises(CheckpointError, match=rf"3 batches done.*{next(iter(changed))}="):
        run(Tiny(), checkpoint=tmp_path / "step-epoch=0-step=3.ckpt", **EPOCHS, **changed)
    resumed = Tiny()
    run(resumed, checkpoint=tmp_path / "step-epoch=0-step=5.ckpt", **EPOCHS, **changed)
    assert [epoch for epoch, *_ in resumed.seen[:1]] == [1]
