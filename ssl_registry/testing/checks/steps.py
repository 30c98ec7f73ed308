"""What happens once an optimizer step, and what an accumulated step means."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from ssl_registry import hookimpl
from ssl_registry.contract.declares import declares_of
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.comparable import Comparable
from ssl_registry.testing.subject import Subject, loader, ready_made


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every parameter by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def first_change(model: nn.Module, before: dict[str, Tensor]) -> str | None:
    """Return the name of the first parameter that is no longer as it was."""
    return next((name for name, p in model.named_parameters() if not torch.equal(p, before[name])), None)


class _Watch(Callback):
    """Notes which parameter moves during a micro-batch, outside of the optimizer's step."""

    def __init__(self) -> None:
        self.moved: str | None = None
        self._before: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._before = parameters_of(pl_module)

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Called before each backward pass that begins a step; the forward pass is done by then."""
        self.moved = self.moved or first_change(pl_module, self._before)

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        self.moved = self.moved or first_change(pl_module, self._before)


@check()
def step_end(subject: Subject) -> None:
    """Parameters move with optimizer steps alone, and work beside them happens once a step, however it accumulates.

    Why: a momentum update in `compute_loss` runs once a micro-batch, so accumulating gradients over n of them makes
    the target n times as fast. Three toolboxes shipped that.
    Usual cause: an update in `compute_loss`; it belongs into `on_step_end`.
    """
    for accumulate in (1, 3):
        watch = _Watch()
        model = subject.model()
        subject.fit(model, callbacks=[watch], accumulate_grad_batches=accumulate, max_epochs=2)
        if watch.moved:
            raise CheckFailure(
                f"{watch.moved} moves during a micro-batch, with accumulate_grad_batches={accumulate}; "
                "updates belong into on_step_end"
            )


class _Gradients(Callback):
    """Keeps the gradient of each optimizer step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        gradients = {name: p.grad.clone() for name, p in pl_module.named_parameters() if p.grad is not None}
        self.steps.append(gradients)


@check()
def accumulation(subject: Subject) -> None:
    """A step over n micro-batches is the step along the mean of their gradients: one micro-batch n times is one step.

    Why: accumulation is how a large batch is had on a small device; state that moves with micro-batches makes it
    another method.
    Usual cause: state that `compute_loss` changes: a queue, a centre or a momentum target.
    """
    found = []
    for times in (1, 3):
        # In float64, as a sum of three thirds in float32 can push the next step across a ReLU's kink.
        plain: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.01, "optimizer_kwargs": {}}
        model = subject.model(observers=[Comparable()], **plain).double()
        batches = [ready_made(subject.views(model, seed=step)) for step in range(3)]
        gradients = _Gradients()
        data = loader([batch for batch in batches for _ in range(times)])
        subject.fit(model, data=data, callbacks=[gradients], accumulate_grad_batches=times)
        found.append((gradients.steps, parameters_of(model)))
    (once, weights), (several, others) = found
    if len(once) != len(several):
        raise CheckFailure(f"{len(several)} optimizer steps for 9 micro-batches in threes, {len(once)} for 3 batches")
    for step, (a, b) in enumerate(zip(once, several, strict=True)):
        noise = 1e-4 * max(float(gradient.abs().max()) for gradient in a.values())
        for name in a:
            if name not in b or not torch.allclose(a[name], b[name], rtol=1e-3, atol=noise):
                raise CheckFailure(
                    f"step {step + 1}: the gradient of {name} over one micro-batch three times is not that of the "
                    "micro-batch; compute_loss must leave state alone"
                )
    for name, weight in weights.items():
        if not torch.allclose(weight, others[name], rtol=1e-3, atol=1e-4):
            raise CheckFailure(f"{name} ends elsewhere when each micro-batch comes three times in one step")


class _StopAt:
    """An observer that ends training after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.asked = 0

    @hookimpl(wrapper=True)
    def should_stop(self, ctx: Any) -> Any:
        yield
        self.asked = max(self.asked, ctx.step)
        return ctx.step >= self.steps


@check()
def stopping(subject: Subject) -> None:
    """When training is told to stop after a step, it ends there: not at the epoch's end, and no other epoch begins.

    Why: a step limit that ends only the epoch goes on with the next one, for as many epochs as were asked for.
    Usual cause: a limit of the method's own, or one that resets `trainer.should_stop`; answer `should_stop`.
    """
    watch = _StopAt(2)
    trainer = subject.fit(subject.model(observers=[watch]), max_epochs=4)
    if trainer.global_step != 2 or watch.asked != 2:
        raise CheckFailure(
            f"told to stop after 2 steps, training went on to step {max(trainer.global_step, watch.asked)}"
        )


@check()
def run_lengths(subject: Subject) -> None:
    """Runs of a single step, and runs without a known end, work.

    Why: a schedule divides by `max_steps - 1` or expects a number where there is none; it fails after an hour, or
    in the first test of a user who gives `max_time`.
    Usual cause: `ctx.max_steps` used without a thought of 1 and None.
    """
    for max_steps, words in ((1, "a run of a single step"), (-1, "a run without end")):
        model = subject.model(observers=[_StopAt(4)])
        try:
            subject.fit(model, max_steps=max_steps, max_epochs=-1)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise CheckFailure(f"{words} fails: {type(error).__name__}: {error}") from error
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise CheckFailure(f"{words} leaves {name} with numbers that are not finite")


@check()
def epochs(subject: Subject) -> None:
    """Six batches as one epoch or as three of two end in the same weights: a method counts steps.

    Why: a schedule by epochs is another one on every other source, and jumps where an epoch is long.
    Usual cause: `ctx.epoch` where `ctx.step` belongs. A paper that counts epochs, to freeze a part or to warm up, is
    declared: `declares = Declares(by_epochs="the last layer rests in the first epoch (appendix C)")`.
    """
    declared = declares_of(subject.method_class).by_epochs
    states = []
    for times, count in ((3, 1), (1, 3)):
        model = subject.model(observers=[Comparable()]).double()
        batches = [ready_made(subject.views(model, seed=seed)) for seed in (0, 1)]
        subject.fit(model, data=loader(batches * times), max_epochs=count)
        states.append(model.state_dict())
    difference = next((name for name, value in states[0].items() if not torch.equal(value, states[1][name])), None)
    if difference and not declared:
        raise CheckFailure(
            f"{difference} depends on how the same batches are divided into epochs; count by ctx.step, or declare "
            "by_epochs"
        )
    if declared and not difference:
        raise CheckFailure(f"it is declared to count by epochs ({declared}), and does not; take it off")
    if declared:
        raise NotApplicable(f"it is declared: {declared}")
