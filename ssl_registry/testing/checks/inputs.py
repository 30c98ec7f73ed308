"""What a loss depends on: every view of every sample, and nothing of a label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ssl_registry.contract.declares import declares_of
from ssl_registry.data import SSLDataModule
from ssl_registry.data.samples import Samples
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.checks.repeating import first_difference
from ssl_registry.testing.checks.samples import Asked
from ssl_registry.testing.comparable import Comparable
from ssl_registry.testing.subject import BATCH, Subject, loader

SAME = 1e-9
NEAR = 1e-6  # sums in another order
# Where a batch may hold labels.
LABELS = ("y", "label", "labels", "target", "targets", "class", "classes")
STEPS = 2  # before the look: away from what is alike in a network that was just made


def trained(subject: Subject, *, observers: tuple[object, ...] = ()) -> SSLModule:
    """Return a model after a few steps, in float64 and train mode, whose loss is a function of its batch."""
    model = subject.model(observers=[*observers, Comparable()])
    subject.fit(model, max_steps=STEPS, max_epochs=-1)
    return model.double().train()


def loss_of(model: SSLModule, views: list[Tensor], indices: Tensor | None = None) -> Tensor:
    """Return the loss of ready-made views, without gradient."""
    numbers = torch.arange(len(views[0])) if indices is None else indices
    with torch.no_grad():
        return model.batch_loss({"views": views, "indices": numbers}, 0)[0]


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=SAME, atol=SAME)


@check()
def views(subject: Subject) -> None:
    """The loss depends on each view, is not that of one view twice, and pairs the views of a sample, in any order.

    Why: a loss of one view with itself falls faster than any other, and learns nothing of invariance.
    Usual cause: `views[0]` where `views[1]` belongs, a loop that stops early, pairs that are shifted by a place. With
    `declares = Declares(symmetric=True)`, exchanging the first two views must leave the loss as it is.
    """
    asked = Asked()
    model = trained(subject, observers=(asked,))
    both = [view.double() for view in subject.views(model, 2 * BATCH)]
    given, others = [view[:BATCH] for view in both], [view[BATCH:] for view in both]
    loss = loss_of(model, given)
    for place, other in enumerate(others):
        if _equal(loss, loss_of(model, [*given[:place], other, *given[place + 1 :]])):
            raise CheckFailure(f"the loss does not depend on view {place + 1} of {len(given)}; is it used?")
    declared = declares_of(subject.method_class).symmetric
    several = len(given) > 1 and given[0].shape == given[1].shape
    if several and not torch.equal(given[0], given[1]):
        for pair in ([given[0], given[0]], [given[1], given[1]]):
            if _equal(loss, loss_of(model, [*pair, *given[2:]])):
                raise CheckFailure("the loss is that of one view compared with itself; compare the two views")
        elsewhere = loss_of(model, [given[0], given[1].roll(1, 0), *given[2:]])
        if not asked.indices and torch.allclose(loss, elsewhere, rtol=NEAR):
            raise CheckFailure(
                "the loss is the same where the second views belong to other samples; compare views of one sample"
            )
        swapped = loss_of(model, [given[1], given[0], *given[2:]])
        if declared and not asked.draws and not torch.allclose(loss, swapped, rtol=NEAR):
            raise CheckFailure(
                f"the loss is {loss.item():.6g}, and {swapped.item():.6g} with the two views exchanged, but is "
                "declared symmetric"
            )
    elif declared:
        raise CheckFailure("it is declared symmetric, and has no two views of one size")
    if not asked.draws:
        order = torch.arange(BATCH).roll(5).flip(0)
        mixed = loss_of(model, [view[order] for view in given], order)
        if not torch.allclose(loss, mixed, rtol=NEAR):
            raise CheckFailure(
                f"the loss of a batch is {loss.item():.6g}, and {mixed.item():.6g} with its samples in another order"
            )


@check()
def labels(subject: Subject) -> None:
    """Nothing of a label reaches the weights: labels that are all wrong give the same run.

    Why: a method that looks at labels wins every comparison of methods that do not.
    Usual cause: a loss from a supervised code base, labels that pick pairs or weigh samples, a look at the source's
    labels through the trainer.
    """
    states = []
    for shift in (0, 3):
        model = subject.model()
        source = subject.data(model).source
        known = source.train
        wrong = Samples(known.x, (known.y + shift) % 10)  # type: ignore[attr-defined]  # digits are Samples
        subject.fit(model, data=SSLDataModule(replace(source, train=wrong), batch_size=BATCH), max_epochs=2)
        states.append(model.state_dict())
    if difference := first_difference(*states):
        raise CheckFailure(f"{difference} depends on the labels of the samples; a self-supervised method sees none")
    states = []
    for value in (0, 7):
        model = subject.model()
        x = subject.batch()
        named: dict[str, Any] = dict.fromkeys(LABELS, torch.full((len(x),), value))
        subject.fit(model, data=loader([{"x": x, "indices": torch.arange(len(x)), **named}] * 2))
        states.append(model.state_dict())
    if difference := first_difference(*states):
        raise CheckFailure(f"{difference} depends on labels that are in the batch; a self-supervised method sees none")


@check()
def scale(subject: Subject) -> None:
    """A batch that holds each sample twice has about the loss of the batch: a mean over samples, not a sum.

    Why: a loss that grows with the batch changes the learning rate with it, and differs between one device and two.
    Usual cause: `.sum()` or `reduction="sum"` where the paper has a mean. A loss for which it is otherwise says so:
    `declares = Declares(grows="...")`.
    """
    model = trained(subject)
    found = []
    single = [view.double() for view in subject.views(model)]
    for times in (1, 2):
        batch = {"views": [view.repeat(times, *[1] * (view.ndim - 1)) for view in single]}
        numbers = torch.arange(BATCH).repeat(times)
        model.zero_grad()
        loss, _ = model.batch_loss({**batch, "indices": numbers}, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        found.append((abs(loss.item()), torch.stack(norms).norm().item()))
    (loss_1, slope_1), (loss_2, slope_2) = found
    grows = [_grows(loss_1, loss_2), _grows(slope_1, slope_2)]
    declared = declares_of(subject.method_class).grows
    words = (
        f"its loss is {loss_1:.4g}, with each sample twice {loss_2:.4g}; its gradient {slope_1:.4g}, and {slope_2:.4g}"
    )
    if all(grows) and not declared:
        raise CheckFailure(f"{words}; take the mean over samples")
    if declared and not any(grows):
        raise CheckFailure(f"it is declared that the loss grows with the batch, but {words}; take it off")
    if declared:
        raise NotApplicable(f"it is declared: {declared}")


def _grows(once: float, twice: float) -> bool:
    return twice > 1.5 * once or twice < once / 1.5
