"""Which parameters train: gradients, targets, frozen phases, the optimizer's groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.subject import Subject

# Enough for a frozen first epoch, and for phases that alternate with a period of up to three.
EPOCHS = 4


class _Trace(Callback):
    """Notes which parameters get a gradient, and which the core holds frozen."""

    def __init__(self) -> None:
        self.with_gradient: set[str] = set()
        self.ever_free: set[str] = set()
        self.frozen_with_gradient: str | None = None
        self.frozen_moved: str | None = None
        self.phases: set[frozenset[str]] = set()
        self._held: dict[str, Tensor] = {}
        self._old: dict[str, Tensor | None] = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        frozen = pl_module.frozen
        self._old = {name: None if p.grad is None else p.grad.clone() for name, p in pl_module.named_parameters()}
        self.phases.add(frozen)
        self._held = {
            name: tensor.detach().clone() for name, tensor in pl_module.state_dict().items() if _is_in(name, frozen)
        }

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        for name, parameter in pl_module.named_parameters():
            frozen = _is_in(name, pl_module.frozen)
            if not frozen:
                self.ever_free.add(name)
            old, new = self._old[name], parameter.grad
            # What no optimizer has keeps the gradient of an earlier phase, which is no gradient of this one.
            if new is not None and new.count_nonzero() and (old is None or not torch.equal(new, old)):
                self.with_gradient.add(name)
                if frozen:
                    self.frozen_with_gradient = self.frozen_with_gradient or name

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = pl_module.state_dict()
        for name, tensor in self._held.items():
            if not torch.equal(tensor, now[name]):
                self.frozen_moved = self.frozen_moved or name


def _owner(name: str) -> str:
    """Return the name under which frozen_modules knows a parameter's module."""
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] if first == "heads" else first


def _is_in(name: str, modules: Iterable[str]) -> bool:
    """Tell whether a tensor belongs to one of the modules that frozen_modules names, by dots if inside of a head."""
    return any(f"{name.removeprefix('heads.')}.".startswith(f"{module}.") for module in modules)


def copies_of_trained(model: SSLModule) -> list[tuple[str, str]]:
    """Pair each parameter that starts as a copy of a trainable one, a target's whatever it is called, with that."""
    parameters = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    trained = [name for name, p in parameters.items() if p.requires_grad]
    found = []
    for name, parameter in parameters.items():
        twins = (other for other in trained if _owner(other) != _owner(name) and _same(parameter, parameters[other]))
        if _owner(name) != "backbone" and (twin := next(twins, None)):
            found.append((name, twin))
    return found


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


@check()
def gradients(subject: Subject) -> None:
    """Every trainable parameter gets a gradient in some phase, over four epochs.

    Why: a parameter without a gradient is a part that was built, saved and never trained; nothing else tells.
    Usual cause: features that are detached, a forward pass under no_grad, a head that the loss does not reach.
    Something that rests for ever in this configuration should say so: freeze it when it is built, or name it in
    `frozen_modules`.
    """
    trace = _Trace()
    model = subject.model()
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    subject.fit(model, callbacks=[trace], max_epochs=EPOCHS)
    if missing := [name for name in trainable if name in trace.ever_free and name not in trace.with_gradient]:
        raise CheckFailure(
            f"{missing[0]} is trainable and gets no gradient in {EPOCHS} epochs ({len(missing)} parameters in all)"
        )
    if not any(name.startswith("backbone.") for name in trace.with_gradient):
        raise CheckFailure(f"the backbone gets no gradient in {EPOCHS} epochs; it is what the training is for")


@check()
def targets(subject: Subject) -> None:
    """A copy of a trained network, a momentum target, gets no gradient and no place in the optimizer.

    Why: a target that is trained as well is no target: both networks collapse to what is easiest to agree on.
    Usual cause: a deepcopy without `deactivate_requires_grad`, a target's forward pass without `torch.no_grad()`.
    """
    trace = _Trace()
    model = subject.model()
    if not (copies := copies_of_trained(model)):
        raise NotApplicable("no head starts as a copy of a trained network")
    trainer = subject.fit(model, callbacks=[trace], max_epochs=2)
    optimized = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    for name, twin in copies:
        parameter = model.get_parameter(name)
        words = f"{name} and {twin} start as copies, and the first of them"
        if name in trace.with_gradient or parameter.grad is not None:
            raise CheckFailure(f"{words} gets a gradient too; a target is deactivated, and runs under no_grad")
        if id(parameter) in optimized or parameter.requires_grad:
            raise CheckFailure(f"{words} is in the optimizer too; a target is deactivated where it is built")


@check()
def frozen_phases(subject: Subject) -> None:
    """What `frozen_modules` names gets no gradient and does not change in that epoch, not even its statistics.

    Why: freezing by `requires_grad` behind the core's back leaves BatchNorm's statistics moving, and what the
    method un-freezes by itself trains in the wrong phase.
    Usual cause: `requires_grad_` or `train()` in a hook of the method; the core alone touches both.
    """
    subject.needs("frozen_modules")
    trace = _Trace()
    subject.fit(subject.model(), callbacks=[trace], max_epochs=EPOCHS)
    if trace.frozen_with_gradient:
        raise CheckFailure(
            f"{trace.frozen_with_gradient} is frozen and gets a gradient; leave requires_grad to the core"
        )
    if trace.frozen_moved:
        raise CheckFailure(
            f"{trace.frozen_moved} changes while it is frozen; leave modes and updates of it to the core"
        )


@check()
def fixed_networks(subject: Subject) -> None:
    """A network that never trains, a random projector, is in evaluation mode for ever, also after `.train()`.

    Why: in train mode its BatchNorm answers by the batch and its dropout by chance, so what it gives for a sample
    is no longer a function of the sample.
    Usual cause: an `nn.ModuleList` with `requires_grad=False`; a `FrozenModuleList` stays in evaluation mode.
    """
    model = subject.model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    subject.fit(model, max_epochs=2)
    after = model.state_dict()
    fixed = [
        (f"heads.{name}", head)
        for name, head in model.heads.items()
        if (parameters := list(head.named_parameters()))
        and not any(p.requires_grad for _, p in parameters)
        and all(torch.equal(p, before[f"heads.{name}.{key}"]) for key, p in parameters)
    ]
    if not fixed:
        raise NotApplicable("no head is a network that stays as it was built")
    model.train()
    for path, head in fixed:
        for key, part in head.named_modules():
            if part.training and isinstance(part, _BatchNorm | _DropoutNd):
                raise CheckFailure(
                    f"{path}.{key} is in train mode, in a network that never trains; use FrozenModuleList"
                )
        for key in head.state_dict():
            if not torch.equal(before[f"{path}.{key}"], after[f"{path}.{key}"]):
                raise CheckFailure(f"{path}.{key} changes in a network that never trains; use FrozenModuleList")


@check()
def parameter_groups(subject: Subject) -> None:
    """The optimizer has every trainable parameter once and no frozen one; biases and norms do not decay.

    Why: a target in the optimizer decays towards zero, a head that is left out never learns, and LARS that scales
    biases and norms does not train at large batches.
    Usual cause: `model.parameters()` in `param_groups`; leave that hook out unless groups need their own rates.
    """
    model = subject.model(weight_decay=0.1)
    configured = model.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    names = {id(p): name for name, p in model.named_parameters()}
    seen: set[int] = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names.get(id(parameter))
            if name is None:
                raise CheckFailure(f"the optimizer has a parameter of shape {list(parameter.shape)} that no module has")
            if not parameter.requires_grad:
                raise CheckFailure(f"the optimizer has {name}, which is frozen")
            if id(parameter) in seen:
                raise CheckFailure(f"the optimizer has {name} twice")
            seen.add(id(parameter))
            if parameter.ndim <= 1 and group.get("weight_decay"):
                raise CheckFailure(f"{name} is a bias or a norm and decays by {group['weight_decay']}")
    if missing := [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in seen]:
        raise CheckFailure(f"the optimizer lacks {missing[0]}, which is trainable")
