"""The loss beside an independent formula."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ssl_registry import hookimpl
from ssl_registry._system.options import parse_options
from ssl_registry.contract.config import MethodConfig
from ssl_registry.contract.context import Context
from ssl_registry.contract.declares import declares_of
from ssl_registry.errors import SSLRegistryError
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CREATE_OPTIONS, CheckFailure, NotApplicable, check
from ssl_registry.testing.checks.inputs import STEPS
from ssl_registry.testing.checks.options import moves
from ssl_registry.testing.comparable import Comparable
from ssl_registry.testing.subject import Subject, ready_made

NEAR = 1e-7


class _Instead:
    """An observer in whose presence a formula stands in for the method's loss."""

    def __init__(self, formula: Callable[..., Tensor]) -> None:
        self.formula = formula
        self.on = False

    @hookimpl(wrapper=True)
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Any:
        """Answer in the method's place, or leave its answer."""
        instead = self.formula(model, views, ctx) if self.on else None  # first: it draws what the method would draw
        own = yield
        return own if instead is None else instead


@check()
def reference(subject: Subject) -> None:
    """The loss and its gradient are those of an independent formula, over random inputs and other options.

    Why: a loss that is not the paper's trains too; nothing but the paper's own equation can tell.
    Usual cause of a difference: a factor, a mean over other axes, a term that takes part twice. The formula is plain
    code in float64, written from the paper and not from the method:
    `declares = Declares(reference="my_package.reference:loss")`.
    """
    where = declares_of(subject.method_class).reference
    if not where:
        raise NotApplicable("no reference: it declares no independent formula of its loss")
    formula = _load(where)
    for words, options in _variants(subject):
        instead = _Instead(formula)
        try:
            model = subject.model(observers=[instead, Comparable()], **options)
        except SSLRegistryError:
            continue  # out of the option's range
        if not options:
            subject.fit(model, max_steps=STEPS, max_epochs=-1)
        model.double().train()
        _compare(subject, model, instead, words)


def _load(where: str) -> Callable[..., Tensor]:
    module, _, name = where.partition(":")
    try:
        formula: Callable[..., Tensor] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CheckFailure(f"its reference {where} cannot be imported: {error}") from error
    return formula


def _variants(subject: Subject) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "", {}
    cls: type[MethodConfig] = subject.method_class.Config
    own = {key: value for key, value in subject.options.items() if key not in CREATE_OPTIONS}
    config = parse_options(cls, own, owner=subject.name)
    for name, field in cls.model_fields.items():
        if name in MethodConfig.model_fields:
            continue
        for value in moves(field.annotation, getattr(config, name)):
            if isinstance(value, float | str | bool):
                yield f", with {name}={value}", {name: value}


def _compare(subject: Subject, model: SSLModule, instead: _Instead, words: str) -> None:
    drawn = [view.double() for view in subject.views(model, seed=1)]
    generator = torch.Generator().manual_seed(2)
    random = [torch.randn(view.shape, generator=generator, dtype=view.dtype) for view in drawn]
    for inputs, kind in ((drawn, "views"), (random, "random inputs")):
        found = []
        for on in (False, True):
            instead.on = on
            model.zero_grad()
            loss, _ = model.batch_loss(ready_made(inputs), 0)
            loss.backward()  # type: ignore[no-untyped-call]
            gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
            found.append((loss.detach(), gradients))
        (loss, gradients), (wanted, directions) = found
        if not torch.allclose(loss, wanted.to(loss.dtype), rtol=NEAR, atol=NEAR):
            raise CheckFailure(
                f"the loss of {kind}{words} is {loss.item():.8g}, and the reference's {wanted.item():.8g}"
            )
        scale = max((float(slope.abs().max()) for slope in directions.values()), default=0.0)
        for name in gradients.keys() | directions.keys():
            one, other = gradients.get(name), directions.get(name)
            one, other = (torch.zeros_like(model.get_parameter(name)) if g is None else g for g in (one, other))
            if not torch.allclose(one, other, rtol=1e-5, atol=1e-7 * scale):
                raise CheckFailure(f"the gradient of {name} for {kind}{words} is not the reference's")
