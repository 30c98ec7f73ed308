"""Half precision, memory layouts and compilation: the same numbers, as far as they go."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.comparable import Comparable
from ssl_registry.testing.subject import Subject, loader, quietly, ready_made

# Half precision keeps 3 (bfloat16) or 3.3 decimals of every product; a network of several layers loses one more.
NEAR_LOSS, NEAR_DIRECTION = 0.05, 0.9


def loss_and_gradient(
    model: SSLModule, views: list[Tensor], *, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Return the loss and the gradient of all trainable parameters as one vector, under autocast or without."""
    model.zero_grad()
    context: Any = nullcontext() if dtype is None else torch.autocast(model.device.type, dtype)
    with context:
        loss, _ = model.batch_loss(ready_made(views), 0)
    loss.backward()  # type: ignore[no-untyped-call]
    flat = [
        (torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters() if p.requires_grad
    ]
    return loss.detach().float(), torch.cat(flat).float()


def _near(loss: Tensor, gradient: Tensor, wanted: Tensor, direction: Tensor, word: str) -> None:
    if not loss.isfinite():
        raise CheckFailure(f"{word} the loss is {loss.item()}; compute it in float32: z.float()")
    if not gradient.isfinite().all():
        raise CheckFailure(f"{word} gradients are not finite; compute the loss in float32: z.float()")
    if (loss - wanted).abs() > NEAR_LOSS * (wanted.abs() + 0.1):
        raise CheckFailure(f"{word} the loss is {loss.item():.5g} instead of {wanted.item():.5g}")
    cosine = torch.nn.functional.cosine_similarity(gradient, direction, dim=0)
    if cosine < NEAR_DIRECTION:
        raise CheckFailure(f"{word} the gradient points elsewhere: its cosine with float32's is {cosine.item():.3f}")


def _autocast(subject: Subject, dtype: torch.dtype) -> None:
    model = subject.model()
    subject.fit(model, max_steps=3, max_epochs=-1)  # away from the symmetries of a network that was just made
    model.train()
    views = subject.views(model)
    wanted, direction = loss_and_gradient(copy.deepcopy(model), views)
    word = str(dtype).removeprefix("torch.")
    with torch.no_grad(), torch.autocast(model.device.type, dtype):
        given, _ = copy.deepcopy(model).batch_loss(ready_made(views), 0)
    if given.dtype not in (torch.float32, torch.float64):
        raise CheckFailure(
            f"under autocast to {word} the loss itself is {str(given.dtype).removeprefix('torch.')}, of three "
            "decimals; compute it in float32: z.float(), with autocast off"
        )
    loss, gradient = loss_and_gradient(copy.deepcopy(model), views, dtype=dtype)
    _near(loss, gradient, wanted, direction, f"under autocast to {word}")


@check()
def bfloat16(subject: Subject) -> None:
    """Under autocast to bfloat16 loss and gradient are finite, and near those of float32.

    Why: it is the default on a GPU, and bfloat16 holds 3 decimals: a small difference of large numbers is gone.
    Usual cause: a loss that is computed in the type of the projections.
    """
    _autocast(subject, torch.bfloat16)


@check()
def float16(subject: Subject) -> None:
    """Under autocast to float16 loss and gradient are finite, and near those of float32.

    Why: float16 ends at 65,504: exp(11.1), or a sum of a few thousand squares.
    Usual cause: similarities that are divided by a low temperature, and sums over the batch, in half precision.
    """
    _autocast(subject, torch.float16)


def _same(a: Callable[[], tuple[Tensor, Tensor]], b: Callable[[], tuple[Tensor, Tensor]], word: str) -> None:
    (loss, gradient), (wanted, direction) = a(), b()
    scale = direction.abs().max().item()
    if not torch.allclose(loss, wanted, rtol=1e-4, atol=1e-5):
        raise CheckFailure(f"{word} the loss is {loss.item():.6g} instead of {wanted.item():.6g}")
    if not torch.allclose(gradient, direction, rtol=1e-3, atol=1e-3 * scale):
        worst = (gradient - direction).abs().max().item()
        raise CheckFailure(f"{word} the gradient differs by up to {worst:.3g}, of {scale:.3g}")


@check()
def channels_last(subject: Subject) -> None:
    """Images in the channels-last layout give the same loss and gradient.

    Why: the core uses that layout on GPUs, where it is half as fast again.
    Usual cause: `view` on something that is no longer contiguous; `flatten` and `reshape` take both.
    """
    if problem := subject.support["image"]:
        raise NotApplicable(f"it takes no images: {problem}")
    shape = (3, 16, 16)  # with one channel the two layouts are one
    # In float64, where the order of a sum does not show.
    model = subject.model(backbone=subject.backbone(shape), input_shape=shape, observers=[Comparable()]).double()
    model.train()
    views = subject.views(model)
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    turned = [view.contiguous(memory_format=torch.channels_last) for view in views]
    try:
        _same(lambda: loss_and_gradient(other, turned), lambda: loss_and_gradient(model, views), "in channels-last")
    except RuntimeError as error:
        raise CheckFailure(f"it cannot work on images in the channels-last layout: {error}") from error


@check(slow=True)
def compiling(subject: Subject) -> None:
    """Under torch.compile training gives the same weights.

    Why: it is a third of the time of a run; what Python does beside the tensors may run once, or not at all.
    Usual cause: Python state that a traced function changes, code that looks at whether it is being compiled.
    """
    states = []
    for compiled in (False, True):
        # In float64: float32's rounding can push a value across a ReLU's kink, and the gradient jumps.
        model = subject.model(optimizer="sgd", learning_rate=0.01, optimizer_kwargs={}).double()
        batches = loader([ready_made(subject.views(model, seed=step)) for step in range(3)])
        torch.compiler.reset()
        with quietly():
            runs: Any = torch.compile(model) if compiled else model
            subject.fit(runs, data=batches)
        states.append({name: p.detach().clone() for name, p in model.named_parameters()})
    torch.compiler.reset()
    for name, wanted in states[0].items():
        if not torch.allclose(states[1][name], wanted, rtol=1e-4, atol=1e-5):
            worst = (states[1][name] - wanted).abs().max().item()
            raise CheckFailure(f"compiled, {name} ends elsewhere, by up to {worst:.3g}")


@check()
def constant_batch(subject: Subject) -> None:
    """Where all samples of a batch are alike, loss and gradient are finite.

    Why: blank frames, padding and a network that has just collapsed give such batches; one NaN ends the run.
    Usual cause: a division by a deviation or a length without a small number below it, a square root at zero.
    """
    model = subject.model()
    subject.fit(model, max_steps=2, max_epochs=-1)
    model.train()
    views = [view[:1].expand_as(view).contiguous() for view in subject.views(model)]
    loss, gradient = loss_and_gradient(model, views)
    if not loss.isfinite() or not gradient.isfinite().all():
        what = f"the loss is {loss.item()}" if not loss.isfinite() else "the gradient is not finite"
        raise CheckFailure(f"for a batch of one sample many times {what}; add a small number below divisions and roots")
