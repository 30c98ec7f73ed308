"""Runs that repeat and runs that resume."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.subject import Subject, make_trainer, quietly

EPOCHS = 3


def first_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> str | None:
    """Return the first name under which two states differ by a bit or more."""
    if a.keys() != b.keys():
        return sorted(a.keys() ^ b.keys())[0]
    return next((key for key in a if a[key].shape != b[key].shape or not torch.equal(a[key], b[key])), None)


def _model(subject: Subject) -> SSLModule:
    """Return a model on a backbone with dropout, whose random numbers must come back too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        backbone = subject.backbone(dropout=0.2)
    return subject.model(backbone=backbone)


@check()
def same_seed(subject: Subject) -> None:
    """Two runs with one seed end in the same weights bit for bit, whatever the process drew before.

    Why: a run that does not repeat can be neither compared nor debugged.
    Usual cause: numpy's or Python's global random numbers, the time, an order of a set; draw from `ctx.generator`.
    """
    states = []
    for disturbance in (1, 2):
        model = _model(subject)
        subject.fit(model, max_epochs=EPOCHS, disturbance=disturbance)
        states.append(model.state_dict())
    if difference := first_difference(*states):
        raise CheckFailure(
            f"{difference} differs between two runs with one seed; draw random numbers from ctx.generator"
        )


def _compare_resumed(subject: Subject, folder: Path, *, every_step: bool, **arguments: Any) -> None:
    saves = [
        ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False),
        ModelCheckpoint(folder, "end-{step}", save_top_k=-1, save_on_train_epoch_end=True),
    ]
    whole = _model(subject)
    trainer = subject.fit(whole, callbacks=saves, enable_checkpointing=True, **arguments)
    optimizer = _flat(trainer)
    points = sorted(folder.glob("*.ckpt"))
    if not every_step:  # inside the first epoch, at its end, and inside each phase that follows
        points = [p for p in points if p.stem in ("step=1", "end-step=3", "step=5", "step=7")]
    for point in points:
        model = _model(subject)
        resumed = subject.fit(model, checkpoint=point, **arguments)
        difference = first_difference(whole.state_dict(), model.state_dict()) or first_difference(
            optimizer, _flat(resumed)
        )
        if difference:
            raise CheckFailure(
                f"{difference} differs from the undisturbed run when resumed from {point.stem}; state belongs into "
                "buffers, random numbers come from ctx.generator"
            )


def _flat(trainer: Trainer) -> dict[str, Tensor]:
    """Return the optimizer's state as tensors by name."""
    state = trainer.optimizers[0].state_dict()["state"]
    return {
        f"optimizer state {index} {key}": torch.as_tensor(value)
        for index, entry in state.items()
        for key, value in entry.items()
        if value is not None
    }


@check()
def resuming(subject: Subject) -> None:
    """A run that goes on from a checkpoint ends where it would have ended: mid-epoch, at its end, in a frozen phase.

    Why: long runs are cut short; one that resumes with another momentum, queue or selection is another run.
    Usual cause: state in a Python attribute, a schedule that starts anew, a choice made again at each fit.
    """
    with tempfile.TemporaryDirectory() as folder:
        _compare_resumed(subject, Path(folder), every_step=False, max_epochs=EPOCHS)


@check(slow=True)
def resuming_everywhere(subject: Subject) -> None:
    """The same from every step and epoch end, also with accumulated gradients and a limit in steps.

    Why and usual cause: as for `resuming`; work that is done in some steps only shows when one resumes beside them.
    """
    for arguments in (
        {"max_epochs": 4},
        {"max_epochs": 4, "accumulate_grad_batches": 2},
        {"max_steps": 8, "max_epochs": -1},
    ):
        with tempfile.TemporaryDirectory() as folder:
            _compare_resumed(subject, Path(folder), every_step=True, **arguments)


@check()
def resuming_before_training(subject: Subject) -> None:
    """A checkpoint that was made before the first step, before `on_fit_start`, begins the same run.

    Why: a job that is cut short in its first seconds leaves one; what `on_fit_start` chooses must not be missing.
    Usual cause: heads that are only built in `on_fit_start`, so that the checkpoint has another shape.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "untrained.ckpt"
        early = _model(subject)
        with quietly():
            trainer = make_trainer(limit_val_batches=1.0)
            trainer.validate(early, datamodule=subject.data(early), verbose=False, weights_only=True)
            trainer.save_checkpoint(path)
        whole, resumed = _model(subject), _model(subject)
        subject.fit(whole, max_epochs=2)
        try:
            subject.fit(resumed, checkpoint=path, max_epochs=2)
        except RuntimeError as error:
            raise CheckFailure(
                f"a checkpoint made before training does not fit: {' '.join(str(error).split())}"
            ) from error
    if difference := first_difference(whole.state_dict(), resumed.state_dict()):
        raise CheckFailure(f"{difference} differs when a run begins from a checkpoint made before training")
