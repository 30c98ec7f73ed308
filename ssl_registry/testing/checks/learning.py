"""Whether it learns: on images, signals and tables, and without collapse."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_registry.data.source import Modality
from ssl_registry.measures.collapse import effective_rank, feature_spread
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.fixtures import digits
from ssl_registry.testing.subject import Subject, loader, ready_made

STEPS, WINDOW = 60, 10
# The share by which the loss must fall.
MIN_FALL = 0.003
SAMPLES, BATCH = 256, 32
# The shares that must be left of both measures. Measured on digits: with BYOL both rise; a gradient that climbs and a
# variance term of the wrong sign (tests/testing/mutants.py) leave 0.04 and 0.16 of the spread, 0.17 and 0.24 of the
# rank.
KEPT_SPREAD, KEPT_RANK = 0.2, 0.25


class _Losses(Callback):
    """Keeps every loss."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.values.append(float(outputs["loss"]))


def _learns(subject: Subject, modality: Modality) -> None:
    if problem := subject.support[modality]:
        raise NotApplicable(f"it refuses {modality}s: {problem}")
    model, losses = subject.model(modality), _Losses()
    untrained = copy.deepcopy(model)
    # The same views again and again: on fresh ones some methods need thousands of steps to rise above the noise.
    batches = [ready_made(subject.views(model, BATCH, seed=seed)) for seed in (0, 1)]
    subject.fit(model, data=loader(batches * (STEPS // 12)), max_steps=STEPS, max_epochs=-1, callbacks=[losses])
    values = losses.values
    if wrong := [step for step, value in enumerate(values) if not math.isfinite(value)]:
        raise CheckFailure(f"the loss on {modality}s is {values[wrong[0]]} at step {wrong[0] + 1}")
    first, last = (sum(part) / len(part) for part in (values[:WINDOW], values[-WINDOW:]))
    if last < first - MIN_FALL * abs(first):
        return
    if _moves_by_itself(model, untrained):
        # What the loss compares with has moved: it tells nothing of what was learned, but before the same teacher.
        first, last = _before_the_last_teacher(untrained, model, batches)
        if not last < first - MIN_FALL * abs(first):
            raise CheckFailure(
                f"the loss on {modality}s does not fall in {STEPS} steps over two batches, beside the targets of the "
                f"last step either: {first:.4g} with the first weights, {last:.4g} with the last ones"
            )
    else:
        raise CheckFailure(
            f"the loss on {modality}s does not fall in {STEPS} steps over two batches: {first:.4g} at first, "
            f"{last:.4g} at last"
        )


def _is_own(name: str, model: SSLModule) -> bool:
    """Whether a tensor of the state belongs to what the method moves by itself: no optimizer has it, and no norm."""
    path, _, last = name.rpartition(".")
    owner = model.get_submodule(path)
    if isinstance(owner, _BatchNorm):  # its statistics go with its weights
        return not any(p.requires_grad for p in owner.parameters())
    tensor = getattr(owner, last)
    return not (isinstance(tensor, nn.Parameter) and tensor.requires_grad)


def _moves_by_itself(model: SSLModule, untrained: SSLModule) -> bool:
    """Whether training moved something outside of the optimizer: a teacher, a centre, a queue."""
    before = untrained.state_dict()
    return any(
        not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items() if _is_own(name, model)
    )


def _before_the_last_teacher(untrained: SSLModule, trained: SSLModule, batches: list[Any]) -> tuple[float, float]:
    """Return the losses of the first and of the last weights, with what the method moves as it was at the end."""
    last = trained.state_dict()
    untrained.load_state_dict(
        {name: last[name] if _is_own(name, untrained) else tensor for name, tensor in untrained.state_dict().items()}
    )
    found = []
    for model in (untrained, trained):
        model.train()
        losses = [model.batch_loss(batch, number, quiet=True)[0] for number, batch in enumerate(batches)]
        found.append(float(torch.stack(losses).detach().mean()))
    return found[0], found[1]


@check()
def learns_images(subject: Subject) -> None:
    """The loss on images of digits is finite, and falls within sixty steps over two batches.

    Where a method moves what the loss compares with, such as a teacher, the loss itself may rise. Then the last weights
    must be better than the first ones beside the teacher as it is at the end.

    Why: a sign, a learning rate or a loss that overflows shows here before it shows after a week.
    Usual cause: a similarity that should be maximised and is minimised. A method that does not take images says so
    with a `ConfigError` from `build_heads`, which gets the `input_shape`.
    """
    _learns(subject, "image")


@check()
def learns_signals(subject: Subject) -> None:
    """The loss on signals, [batch, channels, time], is finite, and falls within sixty steps over two batches.

    Why and usual cause: as for images; besides, layers or views that are made for two axes of space.
    """
    _learns(subject, "signal")


@check()
def learns_tables(subject: Subject) -> None:
    """The loss on tables, [batch, features], is finite, and falls within sixty steps over two batches.

    Why and usual cause: as for images; besides, layers or views that are made for two axes of space.
    """
    _learns(subject, "table")


@check()
def no_collapse(subject: Subject) -> None:
    """After sixty steps over 256 digits the backbone still tells samples apart, in several directions.

    Why: the easiest way to make two views alike is to make everything alike; the loss falls, and the features are
    worth nothing.
    Usual cause: nothing that repels: no negatives, no variance term, no prediction head, a target with a gradient. Of
    a method that reconstructs: a decoder too narrow to do it, so that its output is a constant; or a learning rate that
    is too large for sixty steps on a small network.
    """
    model = subject.model()
    x = digits(subject.modality, train=SAMPLES, test=256, image_shape=subject.shapes["image"]).test.x  # type: ignore[union-attr]  # a Samples
    before = model.embed(x)
    subject.fit(model, samples=SAMPLES, batch_size=BATCH, max_steps=STEPS, max_epochs=-1)
    after = model.embed(x)
    if not after.isfinite().all():
        raise CheckFailure("the features are not finite after sixty steps")
    for name, measure, kept in (("spread", feature_spread, KEPT_SPREAD), ("effective rank", effective_rank, KEPT_RANK)):
        old, new = float(measure(before)), float(measure(after))
        if new < kept * old:
            raise CheckFailure(
                f"the features collapse: their {name} fell from {old:.3g} to {new:.3g} in {STEPS} steps at "
                f"learning_rate={model.config.learning_rate:g} (at least {kept:.0%} must be left). If it is the kit's "
                "small setting, not the method: another learning rate, wider heads, a decoder of two blocks (--set)"
            )
