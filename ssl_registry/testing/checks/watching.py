"""What watches a run leaves it as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.checks.repeating import first_difference
from ssl_registry.testing.subject import Subject
from ssl_registry.training.callbacks.divergence import DivergenceGuard
from ssl_registry.training.callbacks.guard import CollapseGuard
from ssl_registry.training.callbacks.probe import OnlineProbe

EPOCHS = 3
PLENTY = 1e6  # of the time of training that the probe may take: it measures after each epoch


def _watchers() -> list[Callback]:
    return [CollapseGuard("warn"), DivergenceGuard("warn"), OnlineProbe(budget=PLENTY)]


@check()
def watching(subject: Subject) -> None:
    """With the guards and the probe, a run ends in the weights that it has without, also when it is resumed.

    Why: `ssl-registry train` watches by default; whoever trains by hand must get the same model.
    Usual cause: a hook that counts its calls, or keeps what it saw where the guard's extra look at a loss leaves it: in
    a Python attribute, or in a buffer beside `StepCollector`, whose `not_collecting` the guard uses.
    """
    plain = subject.model()
    subject.fit(plain, max_epochs=EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        save = ModelCheckpoint(folder, "{step}", every_n_train_steps=4, save_top_k=-1, save_on_train_epoch_end=False)
        watched = subject.model()
        subject.fit(watched, callbacks=[*_watchers(), save], enable_checkpointing=True, max_epochs=EPOCHS)
        resumed = subject.model()
        subject.fit(resumed, checkpoint=Path(folder) / "step=4.ckpt", callbacks=_watchers(), max_epochs=EPOCHS)
    if difference := first_difference(plain.state_dict(), watched.state_dict()):
        raise CheckFailure(f"{difference} differs where the run is watched; keep what a loss saw in a StepCollector")
    if difference := first_difference(plain.state_dict(), resumed.state_dict()):
        raise CheckFailure(f"{difference} differs where a watched run is resumed; keep nothing outside of buffers")
