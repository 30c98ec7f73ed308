"""A rank that fails."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback
from torch import nn

from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.processes import WORLD, run_in_two
from ssl_registry.testing.remote import describe, rebuild
from ssl_registry.testing.subject import Subject, loader, ready_made

SHARE = 8


class _Bomb:
    """A hook of each part of a backbone, called as a whole or for its tokens, which fails once it is armed."""

    def __init__(self) -> None:
        self.armed = False

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        """Fail if armed."""
        if self.armed:
            raise RuntimeError("a broken sample on rank 1")


class _Arm(Callback):
    """Arms a bomb in the third training step of rank 1."""

    def __init__(self, bomb: _Bomb) -> None:
        self.bomb = bomb

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.bomb.armed = batch_idx == 2 and trainer.global_rank == 1


def _fail_in_two(number: int, told: dict[str, Any]) -> None:
    subject = rebuild(told)
    model, bomb = subject.model(), _Bomb()
    for part in model.backbone.modules():
        part.register_forward_pre_hook(bomb)
    views = [subject.views(model, SHARE, seed=WORLD * step + number) for step in range(4)]
    data = loader([ready_made(each) for each in views])
    subject.fit(model, data=data, callbacks=[_Arm(bomb)], devices=WORLD, strategy="ddp", use_distributed_sampler=False)


@check(slow=True)
def failing_rank(subject: Subject) -> None:
    """When one rank fails, the run comes down on all of them, and its message is told.

    Why: a job of many GPUs that waits for a dead rank burns its hours; one that goes on trains on less data than told.
    Usual cause: `except Exception` around the forward pass, to get over a bad sample.
    """
    outcomes = run_in_two(_fail_in_two, describe(subject))
    if "a broken sample on rank 1" not in outcomes[1].error:
        raise CheckFailure(f"rank 1 raised an error, and what came of it is: {outcomes[1].error or 'nothing'}")
    if outcomes[0].hung or not outcomes[0].error:
        raise CheckFailure("rank 1 fails, and rank 0 waits for it or goes on alone")
