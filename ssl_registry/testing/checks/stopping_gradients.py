"""Where gradients go: the slope of the loss, told by small changes, beside what backward says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ssl_registry.contract.declares import declares_of
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.checks.inputs import trained
from ssl_registry.testing.subject import Subject, ready_made

STEP = 1e-5
# A sum over some hundred numbers in float64, divided by the step.
NEAR = 1e-3


@dataclass(frozen=True)
class _Call:
    """One call of a network in a loss, and what came out."""

    part: str
    number: int
    output: Tensor


class _Outputs:
    """Collects the outputs of networks in the order of their calls, and changes one of them."""

    def __init__(self, model: SSLModule) -> None:
        heads = {name: head for name, head in model.heads.items() if _trains(head)}
        self.parts: dict[str, nn.Module] = {"backbone": model.backbone, **heads}
        self.calls: list[_Call] = []
        self.change: tuple[str, int, Tensor] | None = None
        self._counts: dict[str, int] = {}

    @contextmanager
    def watched(self, change: tuple[str, int, Tensor] | None = None) -> Iterator[list[_Call]]:
        """Watch a loss; ``change`` is added to what a part's call of this number gives."""
        self.calls, self.change, self._counts = [], change, {}
        with ExitStack() as stack:
            for name, part in self.parts.items():
                stack.callback(part.register_forward_hook(self._hook(name)).remove)
            yield self.calls

    def _hook(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            if not isinstance(output, Tensor) or not output.is_floating_point():
                return None
            number = self._counts[name] = self._counts.get(name, -1) + 1
            if self.change is not None and self.change[:2] == (name, number):
                return output + self.change[2]
            self.calls.append(_Call(name, number, output))
            return None

        return hook


def _trains(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


@check()
def stopped_gradients(subject: Subject) -> None:
    """Backward gives the slope of the loss in the outputs of the backbone and of the trained heads.

    Why: a `detach` too many leaves half of a symmetric loss without effect, one that is missing lets a network chase
    its own target; both train.
    Usual cause: `detach()` on the wrong branch, a branch under `no_grad`. Where the paper stops the gradient, say so:
    `declares = Declares(stopped={"projection_head": "the other view's target (equation 2)"})`; then it must be stopped.
    """
    model = trained(subject)
    views = [view.double() for view in subject.views(model)]
    outputs = _Outputs(model)
    with outputs.watched() as calls:
        loss, _ = model.batch_loss(ready_made(views), 0)
    live = [call for call in calls if call.output.requires_grad]
    slopes = torch.autograd.grad(loss, [call.output for call in live], allow_unused=True) if live else ()
    gradients = {(call.part, call.number): slope for call, slope in zip(live, slopes, strict=True)}
    if not calls:
        raise NotApplicable("its loss calls neither the backbone nor a trained head as a whole")
    found: dict[str, str] = {}
    for call in list(calls):
        gradient = gradients.get((call.part, call.number))
        if words := _mismatch(model, outputs, views, call, gradient):
            found.setdefault(call.part, f"call {call.number + 1} of {_named(call.part)} in a loss: {words}")
    declared = declares_of(subject.method_class).stopped
    for part, words in found.items():
        if part not in declared:
            raise CheckFailure(
                f"{words}; is a gradient stopped? Declare it, if the paper does: stopped={{{part!r}: ...}}"
            )
    for part in declared:
        if part not in found:
            raise CheckFailure(
                f"the gradient of {_named(part)} is declared to be stopped, and flows in full; detach it"
            )


def _named(part: str) -> str:
    return part if part == "backbone" else f"heads.{part}"


def _mismatch(
    model: SSLModule, outputs: _Outputs, views: list[Tensor], call: _Call, gradient: Tensor | None
) -> str | None:
    """Compare the slope in two random directions with the gradient; None where they agree in one of them."""
    generator = torch.Generator().manual_seed(call.number)
    words = None
    for _ in range(2):
        direction = torch.randn(call.output.shape, generator=generator, dtype=call.output.dtype)
        losses = []
        for sign in (1, -1):
            change = (call.part, call.number, sign * STEP * direction)
            with outputs.watched(change), torch.no_grad():
                losses.append(float(model.batch_loss(ready_made(views), 0)[0]))
        slope = (losses[0] - losses[1]) / (2 * STEP)
        told = 0.0 if gradient is None else float((gradient * direction).sum())
        if abs(slope - told) <= NEAR * max(abs(slope), abs(told)) + 1e-7:
            return None
        words = f"the slope of the loss is {slope:.4g} and its gradient says {told:.4g}"
    return words
