"""What Lightning's loops need so that training continues from a checkpoint bit for bit.

Lightning 2.6 restores its counters as they were, and continues exactly from most of the places where a
checkpoint can be made. From these it does not:

- After an epoch's last batch, before the epoch is closed (``ModelCheckpoint(every_n_train_steps=1)``).
  The next epoch begins without ``on_train_epoch_start`` and is not counted as begun, so that a checkpoint
  made in it starts that epoch again from its first batch.
- At an epoch's end under ``max_steps``: it takes one batch, and calls that an epoch.
- At the end of a run that ``max_steps`` or ``trainer.should_stop`` ended inside an epoch: the rest of that
  epoch is skipped.
- Inside a group of ``accumulate_grad_batches``: gradients are not saved, and the group's step is made from
  its remaining batches alone.
- Inside a batch (a checkpoint made when an exception or Ctrl-C came): the loader has handed that batch out,
  and it is skipped.

All of them become one of the two states that Lightning continues from exactly: between two epochs, or between
two optimizer steps of an epoch.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loops.loop import _Loop

__all__ = ["mend_loops"]


def mend_loops(trainer: Trainer) -> None:
    """Bring the loops of a trainer that is resuming into a state that it continues from exactly.

    Call it where training data are requested: counters are restored by then, and not used yet. Calling it
    again, or for a trainer that does not resume, changes nothing.
    """
    fit = trainer.fit_loop
    if not fit.is_resuming:
        return
    # Any: Lightning declares the trackers as their base class, which lacks half of the counters.
    batches: Any = fit.epoch_loop.batch_progress
    epochs: Any = fit.epoch_progress
    now = batches.current
    inside = epochs.current.processed < epochs.current.started
    if not inside and now.ready and not batches.is_last_batch:
        # A limit ended the run inside this epoch, and Lightning closed it.
        for epoch in (epochs.total, epochs.current):
            epoch.processed = epoch.completed = epoch.processed - 1
        inside = True
    if inside and batches.is_last_batch and now.processed == now.ready:
        if now.completed == now.processed and trainer.enable_validation:
            return  # made during validation at the epoch's end, which Lightning takes up again by itself
        for batch in (batches.total, batches.current):
            batch.completed = batch.processed
        epochs.increment_processed()
        inside = False
    if inside:
        _stand_between_steps(trainer)
    else:
        for epoch in (epochs.total, epochs.current):
            epoch.ready = epoch.started
    # Not `fit.restarting = ...`: that setter says True for every run with `max_steps`.
    _Loop.restarting.fset(fit, inside)  # type: ignore[attr-defined]  # mypy sees the value, not the property


def _stand_between_steps(trainer: Trainer) -> None:
    """Count the batches up to the last optimizer step as done, and no others; tell the loader so too."""
    fit = trainer.fit_loop
    batches: Any = fit.epoch_loop.batch_progress
    epochs: Any = fit.epoch_progress
    # Saved in `on_train_batch_end`, the batch is done but not yet counted as completed; Lightning adds it.
    uncounted = int(batches.current.completed < batches.current.processed)
    extra = (batches.current.completed + uncounted) % trainer.accumulate_grad_batches
    for tracker in (batches.total, batches.current):
        tracker.ready = tracker.started = tracker.processed = tracker.completed + uncounted - extra
        tracker.completed = tracker.processed - uncounted
    batches.is_last_batch = False
    for state in fit._combined_loader_states_to_load:
        state.update(epoch=epochs.current.processed, batches=batches.current.processed)
