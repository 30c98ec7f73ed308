"""Models that are saved, reopened, pickled and copied."""

from __future__ import annotations

import copy
import pickle
import tempfile
from pathlib import Path

import torch

from ssl_registry.errors import CheckpointError
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.checks.repeating import first_difference
from ssl_registry.testing.subject import Subject, quietly


@check()
def saving(subject: Subject) -> None:
    """A checkpoint reopens, without running code from it, as the model that was saved: weights and features.

    Why: a checkpoint that only the process which wrote it can open is lost with that process.
    Usual cause: heads that are built or replaced during training, options that `__init__` changes.
    """
    model = subject.model()
    trainer = subject.fit(model, max_epochs=2)
    with tempfile.TemporaryDirectory() as folder, quietly():
        path = Path(folder) / "saved.ckpt"
        trainer.save_checkpoint(path)
        # A user's own module is given again, with whatever weights.
        backbone = subject.backbone()
        try:
            again = subject.registry.load(path, backbone=backbone)
        except CheckpointError as error:
            raise CheckFailure(f"its checkpoint does not reopen: {error}") from error
    if difference := first_difference(model.state_dict(), again.state_dict()):
        raise CheckFailure(f"{difference} is another one when the checkpoint is reopened")
    _same_features(subject, model, again, "reopened")


@check()
def copying(subject: Subject) -> None:
    """A model can be pickled and deep-copied, and a copy trains without moving the original.

    Why: copies go to other processes, into averages and into sweeps; a copy that still moves the original's target,
    or whose target follows the original, trains two models into one.
    Usual cause: a lambda or an open file in a head, a module that holds another network behind torch's back.
    """
    model = subject.model()
    subject.fit(model)
    try:
        twins = {"unpickled": pickle.loads(pickle.dumps(model)), "copied": copy.deepcopy(model)}
    except Exception as error:  # pickle raises what the object raises
        raise CheckFailure(f"it cannot be pickled and copied: {type(error).__name__}: {error}") from error
    before = {key: value.clone() for key, value in model.state_dict().items()}
    whole = copy.deepcopy(model)
    subject.fit(whole, max_epochs=2)
    for word, twin in twins.items():
        if difference := first_difference(before, twin.state_dict()):
            raise CheckFailure(f"{word}, its {difference} is another one")
        _same_features(subject, model, twin, word)
        subject.fit(twin, max_epochs=2)
        if difference := first_difference(before, model.state_dict()):
            raise CheckFailure(f"{difference} of the model moves when the {word} one trains")
        if difference := first_difference(whole.state_dict(), twin.state_dict()):
            raise CheckFailure(f"{difference} ends elsewhere when the {word} one trains instead of the model")


def _same_features(subject: Subject, model: SSLModule, other: SSLModule, word: str) -> None:
    x = subject.batch()
    # Not bit for bit: equal weights in other places of memory may be added up in another order.
    if not torch.allclose(model.embed(x), other.embed(x), rtol=1e-4, atol=1e-5):
        raise CheckFailure(f"{word}, it gives other features")
