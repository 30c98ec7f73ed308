"""Targets: networks that no optimizer moves, and that follow one that is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

from ssl_registry.contract.declares import declares_of
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.comparable import Comparable
from ssl_registry.testing.subject import Subject, loader, ready_made

STEPS = 4
# The greatest share of the way to the online network in one step. Papers move 0.1 to 10 per cent.
JUMP = 0.5
# The share of a step that may lead elsewhere than to the online network: none but rounding, in float64.
ELSEWHERE = 1e-3


@dataclass(frozen=True)
class _Pair:
    """A head and the trained tensors that it may be an average of, in the order of its parameters."""

    head: str
    names: list[str]
    online: list[str]


class _States(Callback):
    """Keeps the parameters before each step."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.states.append(_parameters(pl_module))


def _parameters(model: SSLModule) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def pairs(model: SSLModule) -> list[_Pair]:
    """Find heads without a trainable parameter whose parameters have a trained counterpart each, by shape and name."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = []
    for head, module in model.heads.items():
        own = {f"heads.{head}.{name}": p for name, p in module.named_parameters()}
        if not own or any(p.requires_grad for p in own.values()):
            continue
        left, online = dict(trained), []
        for name, parameter in own.items():
            twins = [other for other, p in left.items() if p.shape == parameter.shape]
            if not twins:
                break
            online.append(max(twins, key=lambda other: (torch.equal(trained[other], parameter), _ending(name, other))))
            left.pop(online[-1])
        if len(online) == len(own):
            found.append(_Pair(head, list(own), online))
    return found


def _ending(a: str, b: str) -> int:
    """Return how many parts at the end of two dotted names agree."""
    count = 0
    for x, y in zip(reversed(a.split(".")), reversed(b.split(".")), strict=False):
        if x != y:
            break
        count += 1
    return count


@check()
def following(subject: Subject) -> None:
    """A target starts as the network that it follows, and goes a part of the way to it in each step, never more of it.

    Why: a target that is ahead, jumps, stands still or is drawn anew gives a loss that falls, and worse features.
    Usual cause: momentum and 1 - momentum exchanged, a target that is built rather than copied, an update that takes
    the weights before the optimizer's step, one that forgets a part, a schedule that is reversed or a step ahead: where
    a method has an option `momentum`, the first step goes 1 - momentum of the way. `declares =
    Declares(targets={name: reason})` says that a head is a target of another kind.
    """
    model = subject.model(optimizer="sgd", learning_rate=0.05, optimizer_kwargs={}, observers=[Comparable()]).double()
    candidates = pairs(model)
    declared = declares_of(subject.method_class).targets
    watch = _States()
    batches = loader([ready_made(subject.views(model, seed=step)) for step in range(STEPS)])
    subject.fit(model, data=batches, callbacks=[watch])
    states = [*watch.states, _parameters(model)]
    option = getattr(model.config, "momentum", None)  # the name that the field gives it
    momentum = float(option) if isinstance(option, float | int) else None
    problems = {pair.head: _problem(pair, states, momentum) for pair in candidates}
    found = {head: problem for head, problem in problems.items() if problem is not None}
    for head, problem in found.items():
        if problem and head not in declared:
            raise CheckFailure(f"heads.{head} {problem}")
    for head in declared:
        if not found.get(head):
            raise CheckFailure(f"heads.{head} is declared as a target of another kind, and follows as any; take it off")
    if not found:
        raise NotApplicable("no head is a network that follows a trained one")


def _problem(pair: _Pair, states: list[dict[str, Tensor]], momentum: float | None) -> str | None:
    """Say how a head fails to follow; an empty string if it follows, None if it is a network of its own."""
    target = [torch.cat([state[name].flatten() for name in pair.names]) for state in states]
    online = [torch.cat([state[name].flatten() for name in pair.online]) for state in states]
    starts_equal = torch.equal(target[0], online[0])
    if all(torch.equal(each, target[0]) for each in target[1:]):
        still = f"starts as a copy and stays as it is for {STEPS} steps; move it in on_step_end"
        return still if starts_equal else None
    if not starts_equal:
        return (
            "starts elsewhere than the network that it follows; copy it where that is built (nn.MomentumTeacher), and "
            "leave its weights to the average"
        )
    shares: list[float] = []
    for step, (old, new, goal) in enumerate(zip(target, target[1:], online[1:], strict=False), start=1):
        way, moved = goal - old, new - old
        share = float(moved @ way / way.square().sum().clamp(min=1e-30))
        if float(moved.norm()) <= 1e-12:
            continue
        if share <= 0:
            return f"moves away from the network that it follows, in step {step}"
        if share > JUMP:
            return (
                f"takes {share:.3g} of the way to the network that it follows, in step {step}: it is no average; are "
                "momentum and 1 - momentum exchanged?"
            )
        rest = float((moved - share * way).norm() / moved.norm())
        if rest > ELSEWHERE:
            return (
                f"moves elsewhere than towards the network that it follows, by {rest:.2g} of step {step}: a part of it "
                "is left out, or it follows the weights before the step"
            )
        if shares and share > shares[-1] * (1 + ELSEWHERE):
            return (
                f"goes {share:.3g} of the way in step {step}, and {shares[-1]:.3g} in the one before: a momentum that "
                "falls; is the schedule reversed?"
            )
        shares.append(share)
    if shares and momentum is not None and abs(shares[0] - (1 - momentum)) > ELSEWHERE * (1 - momentum):
        return (
            f"goes {shares[0]:.4g} of the way in the first step, where momentum={momentum:g} says {1 - momentum:.4g}; "
            "does the schedule begin with the step that was done?"
        )
    return ""
