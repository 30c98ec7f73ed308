"""Two processes train as one would.

On the CPU, over gloo. `torch.nn.SyncBatchNorm` needs a GPU; its stand-in gathers the batch with gradient and
normalises over it, which is the same function.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.comparable import Comparable
from ssl_registry.testing.processes import SILENT, WORLD, run_in_two
from ssl_registry.testing.remote import compare, describe, is_echo, rebuild, synchronize_norms, values_of
from ssl_registry.testing.subject import Subject, loader, ready_made

STEPS = 10
# Of samples on each rank: a prime, so that no width, number of patches or of classes is taken for it.
SHARE = 7


class _Record(Callback):
    """Keeps the losses, and the gradients of the first step."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.gradients: dict[str, Tensor] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(outputs["loss"].detach().clone())

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if not self.gradients:
            named = pl_module.named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}


class _BeforeThat(Exception):
    """Equal batches do not train, so nothing is told of the unequal one that follows."""


def _train(
    subject: Subject, place: int, places: int, *, steps: int = STEPS, last: Sequence[int] = (), **arguments: Any
) -> dict[str, Any]:
    """Train some steps on this place's share of the same global batches.

    Args:
        subject: the method.
        place, places: which share of how many.
        steps: how many.
        last: sizes of the shares of one more batch, where they are not alike.
        **arguments: of the Trainer.
    """
    # In float64, where ten steps of rounding do not show; without momentum, which would hide a first difference.
    plain: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.01, "optimizer_kwargs": {}}
    observers = [Comparable(shared_out=not last)]
    model = subject.model(observers=observers, lr_schedule="constant", **plain).double()
    model._sample = partial(_first, subject.batch(count=WORLD * SHARE), model)  # type: ignore[method-assign]
    if not last:  # norms over all ranks need batches of one size
        synchronize_norms(model)
    size = WORLD * SHARE // places
    batches = []
    for step in range(steps):
        views = subject.views(model, WORLD * SHARE, seed=step)
        batches.append(ready_made([view[place * size : (place + 1) * size] for view in views], first=place * size))
    if last:
        start = sum(last[:place])
        views = subject.views(model, sum(last), seed=STEPS)
        batches.append(ready_made([view[start : start + last[place]] for view in views], first=start))
    record = _Record()
    try:
        subject.fit(model, data=loader(batches), callbacks=[record], use_distributed_sampler=False, **arguments)
    except Exception as error:
        if last and len(record.losses) < STEPS:
            raise _BeforeThat(f"{type(error).__name__}: {error}") from error
        raise
    return {"losses": record.losses, "gradients": record.gradients, "weights": dict(model.state_dict())}


def _first(x: Tensor, model: SSLModule, count: int) -> Tensor:
    """Stand in for the look at the data, which holds other samples when batches are shared out."""
    return model._cast(model.view_policy.prepare(x[:count]))


def _train_in_two(number: int, told: dict[str, Any], last: Sequence[int], steps: int) -> dict[str, Any]:
    return _train(rebuild(told), number, WORLD, steps=steps, last=last, devices=WORLD, strategy="ddp")


@check()
def two_ranks(subject: Subject) -> None:
    """Two processes on halves of a batch have the loss, the gradient and the next weights of one on all of it.

    Why and usual cause: as for `two_processes`, which makes more steps; this one tells in seconds.
    """
    _compare_with_one(subject, 1)


@check(slow=True)
def two_processes(subject: Subject) -> None:
    """Two processes on halves of the batch have the loss, the gradients and, ten steps on, the weights of one on all.

    Why: many devices are how a run gets done; labels that are off on every rank but the first, or a gather whose
    backward is off by the number of ranks, cost accuracy and raise nothing.
    Usual cause: labels without `rank * batch`, `all_gather` without gradient, a loss over the device's own batch where
    all are meant: `ctx.gather`.
    """
    _compare_with_one(subject, STEPS)


def _compare_with_one(subject: Subject, steps: int) -> None:
    told = describe(subject)
    alone = _train(subject, 0, 1, steps=steps)
    found = values_of(run_in_two(_train_in_two, told, (), steps))
    for step, wanted in enumerate(alone["losses"]):
        loss = sum(ranks["losses"][step] for ranks in found) / WORLD
        if not torch.allclose(loss, wanted, rtol=1e-4, atol=1e-6):
            raise CheckFailure(
                f"step {step + 1}: the mean loss of two processes is {loss.item():.6g}, and {wanted.item():.6g} in one"
            )
        if step == 0:
            compare(found, alone["gradients"], "gradients", "the gradient of {} in the first step")
    compare(found, alone["weights"], "weights", "{} after " + ("one step" if steps == 1 else f"{steps} steps"))


@check(slow=True)
def unequal_batches(subject: Subject) -> None:
    """A last batch that is smaller on one rank trains, or ends the run on all of them with an error.

    Why: a data set seldom divides by the number of ranks; a collective call over unequal shapes waits for ever.
    Usual cause: a gather that takes the own batch's size for everybody's.
    """
    outcomes = run_in_two(_train_in_two, describe(subject), (SHARE, SHARE - 3), STEPS)
    if any(outcome.hung for outcome in outcomes):
        raise CheckFailure("unequal last batches: a rank never ends")
    if early := [outcome.error for outcome in outcomes if outcome.error.startswith(_BeforeThat.__name__)]:
        reason = min(early, key=is_echo).removeprefix(f"{_BeforeThat.__name__}: ")
        raise CheckFailure(f"two processes do not even train on equal batches: {reason}")
    if any(outcome.error for outcome in outcomes):
        if not all(outcome.error for outcome in outcomes):
            raise CheckFailure("unequal last batches: one rank fails, and the other goes on as if nothing had happened")
        if any(outcome.error.startswith(SILENT) for outcome in outcomes):
            raise CheckFailure("unequal last batches: a process crashes without an error; gather by ctx.gather")
        return
    losses = [outcome.value["losses"][-1] for outcome in outcomes]
    if not all(loss.isfinite() for loss in losses):
        raise CheckFailure(f"unequal last batches: the losses are {[loss.item() for loss in losses]}")
