"""Whether each option of a method does something."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from lightning.pytorch import Callback

from ssl_registry._system.options import parse_options
from ssl_registry.contract.config import MethodConfig
from ssl_registry.contract.declares import declares_of
from ssl_registry.errors import SSLRegistryError
from ssl_registry.testing.check import CREATE_OPTIONS, CheckFailure, check
from ssl_registry.testing.checks.repeating import first_difference
from ssl_registry.testing.subject import Subject

EPOCHS, SAMPLES = 2, 32  # of two steps each
# Options of `MethodConfig` that a method can lose, by hooks of its own; the others are the core's business alone.
LOST = ("learning_rate", "weight_decay")


class _Trace(Callback):
    """Keeps the losses, and what was frozen."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, frozenset[str]]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps.append((float(outputs["loss"]), pl_module.frozen))


class _Run:
    """What can be seen of a model, and of its run of a few steps."""

    def __init__(self, subject: Subject, options: dict[str, Any]) -> None:
        self.subject = subject
        self.model = subject.model(**options)
        self.views = self.model.view_policy
        self.built = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    @cached_property
    def steps(self) -> list[str]:
        """The loss and what was frozen, step by step; as text, in which a NaN is itself."""
        trace = _Trace()
        self.subject.fit(self.model, samples=SAMPLES, max_epochs=EPOCHS, callbacks=[trace])
        return [str(step) for step in trace.steps]

    def difference(self, other: _Run) -> str | None:
        """Name the first thing that differs; None where the two runs are one. It trains only where it must."""
        if self.views != other.views:
            return "the view policy"
        if difference := first_difference(self.built, other.built):
            return difference
        if self.steps != other.steps:
            return "the loss"
        return first_difference(self.model.state_dict(), other.model.state_dict())


def moves(annotation: Any, value: Any) -> Iterator[Any]:
    """Yield other values for an option, the nearest ones first; ranges are the config's to refuse.

    Args:
        annotation: the field's type.
        value: what it is now.
    """
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        if value is not None and NoneType in get_args(annotation):
            yield None
        for part in get_args(annotation):
            if part is not NoneType:
                yield from moves(part, value)
    elif origin is Literal:
        yield from (choice for choice in get_args(annotation) if choice != value)
    elif annotation is bool:
        yield not value
    elif annotation is int:
        near = (1, 2, 5) if value is None else (value // 2, value - 1, value + 1, 2 * value, 8, 2)
        yield from dict.fromkeys(number for number in near if number != value)
    elif annotation is float:
        near_float = (0.5, 2.0, 0.05) if not value else (value / 2, 2 * value, value * 0.9, 0.5)
        yield from near_float
    elif origin in (tuple, list) and value:
        for at, part in enumerate(value):
            for moved in moves(type(part), part):
                yield origin((*value[:at], moved, *value[at + 1 :]))


@check()
def options(subject: Subject) -> None:
    """Each option changes something within four steps: views, heads, loss, what is frozen, or weights.

    Why: an option that is read nowhere is believed to have been tried; a whole sweep over it finds nothing.
    Usual cause: a number in the code where `self.config.name` belongs, an option of an earlier version. What acts later
    is declared: `declares = Declares(options={"queue_start": "after 15 epochs (appendix A)"})`. The other way round, an
    option that is given as its default must change nothing: usual cause, a validator that takes it for the user's wish.
    """
    cls: type[MethodConfig] = subject.method_class.Config
    own = {key: value for key, value in subject.options.items() if key not in CREATE_OPTIONS}
    config = parse_options(cls, own, owner=subject.name)
    declared = declares_of(subject.method_class).options
    base = _Run(subject, {})
    plain = {name: getattr(config, name) for name in cls.model_fields}
    if difference := base.difference(_Run(subject, plain)):
        raise CheckFailure(f"{difference} differs where each option is given as what it is by default")
    names = [name for name in cls.model_fields if name not in MethodConfig.model_fields or name in LOST]
    # Alone, beside other choices of its own options, and beside a rate that follows a schedule.
    contexts = [{}, *_contexts(cls, config, names), {"lr_schedule": "cosine"}]
    bases = {0: base}
    for name in names:
        if same := _equal_choices(subject, cls, config, name, base):
            raise CheckFailure(
                f"{name}={same[0]} and {name}={same[1]} train alike; each choice must be another training"
            )
        # What is declared is tried alone: beside other options it may well act.
        acts = _acts(subject, cls, config, name, contexts[:1] if name in declared else contexts, bases)
        if acts is None:
            continue
        if acts and name in declared:
            raise CheckFailure(f"{name} is declared to change nothing yet ({declared[name]}), and does; take it off")
        if not acts and name not in declared:
            raise CheckFailure(
                f"{name} changes nothing in 4 steps, neither views nor heads, loss or weights; use it, take it "
                f"out, or declare when it acts: declares = Declares(options={{{name!r}: ...}})"
            )


def _equal_choices(
    subject: Subject, cls: type[MethodConfig], config: MethodConfig, name: str, base: _Run
) -> tuple[Any, Any] | None:
    """Return two choices of an option that train alike; None where each differs from each."""
    annotation = cls.model_fields[name].annotation
    if get_origin(annotation) is not Literal or len(get_args(annotation)) < 3:
        return None  # of two choices the other one is tried anyway
    runs: list[tuple[Any, _Run]] = [(getattr(config, name), base)]
    for choice in get_args(annotation):
        if choice == getattr(config, name):
            continue
        try:
            run = _Run(subject, {name: choice})
        except SSLRegistryError:
            continue  # not beside the other options
        for other, earlier in runs:
            if not run.difference(earlier):
                return other, choice
        runs.append((choice, run))
    return None


def _contexts(cls: type[MethodConfig], config: MethodConfig, names: list[str]) -> list[dict[str, Any]]:
    """Return other choices of other options: some options act beside one of them alone."""
    found = []
    for name in names:
        annotation = cls.model_fields[name].annotation
        arms = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        choices = list(moves(annotation, getattr(config, name)))
        if any(arm is bool or get_origin(arm) is Literal for arm in arms):
            found += [{name: value} for value in choices]
        elif getattr(config, name) is None:
            found += [{name: value} for value in choices[:1]]
    return found


def _acts(
    subject: Subject,
    cls: type[MethodConfig],
    config: MethodConfig,
    name: str,
    contexts: list[dict[str, Any]],
    bases: dict[int, _Run],
) -> bool | None:
    """Tell whether moving an option changes a run, in one context at least; None where no other value is accepted."""
    tried = False
    for place, context in enumerate(contexts):
        if name in context:
            continue
        for value in moves(cls.model_fields[name].annotation, getattr(config, name)):
            try:
                if place not in bases:
                    bases[place] = _Run(subject, context)
                moved = _Run(subject, {**context, name: value})
            except SSLRegistryError:
                continue  # out of its range, alone or beside the others
            tried = True
            if moved.difference(bases[place]):
                return True
    return False if tried else None
