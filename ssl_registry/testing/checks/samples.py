"""What a method keeps for each sample of the source."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_registry import hookimpl
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.comparable import Comparable
from ssl_registry.testing.subject import Subject


class Asked:
    """Notes whether a loss asks for the samples' numbers, and whether it draws."""

    def __init__(self) -> None:
        self.indices = False
        self.draws = False

    @hookimpl(wrapper=True)
    def compute_loss(self, ctx: Any) -> Any:
        """Look before and behind."""
        generators = ctx.generator, ctx.shared_generator  # of the rank, and of what all ranks draw alike
        before = [each.get_state() for each in generators]
        result = yield
        self.indices = self.indices or "indices" in vars(ctx.place)
        after = [each.get_state() for each in generators]
        self.draws = self.draws or not all(map(torch.equal, before, after))
        return result


@check()
def indices(subject: Subject) -> None:
    """A sample goes by its number in the source, wherever it is in a batch: mixing a batch leaves the loss as it was.

    Why: batches are shuffled, shared out over ranks and go on after a restart; only the number in the source stays.
    Usual cause: a row of a table of samples that is chosen by the place in the batch, or by sorted numbers. That the
    numbers are right with workers, on ranks and after resuming is the core's promise, which its own tests keep.
    """
    asked = Asked()
    model = subject.model(observers=[asked, Comparable()]).double()
    views = subject.views(model)
    numbers = torch.arange(len(views[0])) * 3  # not their places
    order = torch.arange(len(numbers)).roll(5).flip(0)
    losses: list[Tensor] = []
    with torch.no_grad():
        for rows, names in ((numbers.argsort(), numbers), (order, numbers[order]), (order, numbers)):
            batch = {"views": [view[rows] for view in views], "indices": names}
            losses.append(model.batch_loss(batch, 0)[0])
    if not asked.indices:
        raise NotApplicable("its loss does not ask for ctx.indices")
    if asked.draws:
        raise NotApplicable("its loss draws random numbers, by the place in a batch, so mixing a batch changes it")
    straight, mixed, wrong = losses
    if not torch.allclose(straight, mixed, rtol=1e-6):
        raise CheckFailure(
            f"the loss of a batch is {straight.item():.6g}, and {mixed.item():.6g} in another order; choose what "
            "belongs to a sample by ctx.indices as they come"
        )
    if torch.allclose(straight, wrong, rtol=1e-9):
        raise CheckFailure("the loss asks for ctx.indices, and samples under other numbers have the same loss")
