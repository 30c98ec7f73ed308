"""Optimizers by timm's names, parameter groups with and without weight decay, and the learning-rate schedule."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ssl_registry.contract.config import MethodConfig
from ssl_registry.errors import ConfigError, did_you_mean

__all__ = ["build_optimizer", "build_scheduler", "default_param_groups", "without_decay"]


NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
# Names of position embeddings and of learned tokens, in timm's models and in decoders written after them.
EMBEDDINGS = re.compile(r"(^|_)(pos(ition(al)?)?_emb(ed(dings?)?)?|(cls|class|mask|dist|reg|register)_tokens?)$")


def default_param_groups(modules: Iterable[nn.Module]) -> list[dict[str, Any]]:
    """Split all trainable parameters into the groups ``decay`` and ``no_decay``, whose weight decay is 0.

    `without_decay` tells which are which. LARS reads the same sign: without decay it leaves a parameter's step
    unscaled, as You et al. (2017) and SimCLR (appendix B.6) do.
    """
    modules = list(modules)
    excluded = set().union(*map(without_decay, modules))
    # A parameter that two modules share has one place in the optimizer.
    trainable = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    groups: list[dict[str, Any]] = [
        {"params": [p for key, p in trainable.items() if key not in excluded], "name": "decay"},
        {"params": [p for key, p in trainable.items() if key in excluded], "name": "no_decay", "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def without_decay(network: nn.Module) -> set[int]:
    """Return the identities of the parameters that weight decay leaves alone.

    They are parameters of norms and biases, of any shape; all others of at most one axis; position embeddings and
    class, mask and register tokens; and what a network of timm names in its ``no_weight_decay()``.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LayerNorm([4, 8, 8]))
        >>> [name for name, p in network.named_parameters() if id(p) in without_decay(network)]
        ['0.bias', '1.weight', '1.bias']
    """
    found = set()
    for prefix, part in network.named_modules():
        named = getattr(part, "no_weight_decay", None)
        own: Iterable[str] = named() if callable(named) else ()
        found |= {id(p) for name, p in part.named_parameters() if name in own}
        position = EMBEDDINGS.search(prefix.rpartition(".")[2]) is not None
        for name, parameter in part.named_parameters(recurse=False):
            embedding = EMBEDDINGS.search(name) or (position and name == "weight")
            if parameter.ndim <= 1 or isinstance(part, NORMS) or name.endswith("bias") or embedding:
                found.add(id(parameter))
    return found


def build_optimizer(groups: list[dict[str, Any]], config: MethodConfig, *, fused: bool = True) -> Optimizer:
    """Build ``config.optimizer`` over parameter groups.

    Args:
        groups: as torch's optimizers take them.
        config: the optimizer's name, rates and further arguments; ``fused`` or ``foreach`` among these decide.
        fused: otherwise take torch's fused form of Adam, AdamW or SGD where every parameter allows it. It does
            the same arithmetic in one pass over memory.

    Raises:
        ConfigError: for a name that timm does not know, arguments that it does not take, or no parameters.
    """
    from timm.optim import create_optimizer_v2, list_optimizers

    if not any(group["params"] for group in groups):
        raise ConfigError("nothing is trainable: every parameter of backbone and heads has requires_grad=False")
    known = [str(name) for name in list_optimizers()]
    if config.optimizer.lower() not in known:
        hint = did_you_mean(config.optimizer, known)
        raise ConfigError(f"there is no optimizer {config.optimizer!r}.{hint} Known: {', '.join(known)}")
    arguments = dict(config.optimizer_kwargs)
    given = arguments.keys() & {"fused", "foreach", "differentiable"}
    # Fused SGD has no first step for parameters that join later, which `_begin_momentum` mends where nothing is damped.
    if fused and not given and not arguments.get("dampening") and _can_fuse(groups, config.optimizer):
        arguments["fused"] = True
    rates: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    try:
        optimizer: Optimizer = create_optimizer_v2(groups, opt=config.optimizer, **rates, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer {config.optimizer} does not take {config.optimizer_kwargs}: {error}") from error
    if type(optimizer) is SGD:
        _begin_momentum(optimizer)
    return optimizer


def _begin_momentum(optimizer: SGD) -> None:
    """Give every parameter of a fused SGD its momentum from the start: zero, which makes the same first step.

    torch's fused step takes either none or all of a group's parameters for new, and fails where some have been frozen
    while others trained.
    """
    for group in optimizer.param_groups:
        if group["fused"] and group["momentum"]:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _can_fuse(groups: list[dict[str, Any]], name: str) -> bool:
    """Whether an optimizer has a fused form, and all parameters are of a kind that it takes."""
    # By its class: of those under timm's names only torch's own have one on every device.
    if _class_of(name) not in (Adam, AdamW, SGD):
        return False
    parameters = [p for group in groups for p in group["params"]]
    # By their exact type: sharded parameters (DTensor) have no fused SGD.
    plain = all(type(p) in (nn.Parameter, Tensor) for p in parameters)
    return plain and all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)


def _class_of(name: str) -> Any:
    from timm.optim import get_optimizer_class

    return get_optimizer_class(name.lower(), bind_defaults=False)


def build_scheduler(optimizer: Optimizer, config: MethodConfig, max_steps: Callable[[], int | None]) -> LambdaLR | None:
    """Build the learning-rate schedule, stepped once per optimizer step; None when it is constant.

    Args:
        optimizer: whose rates it sets.
        config: ``lr_schedule``, ``warmup_steps`` and ``final_learning_rate``.
        max_steps: gives the run's length, once it is known; step 0 does not need it.
    """
    if config.lr_schedule == "constant" and config.warmup_steps == 0:
        return None

    def factor(step: int) -> float:
        return lr_factor(
            step,
            config.lr_schedule,
            config.warmup_steps,
            max_steps(),
            floor=config.final_learning_rate / config.learning_rate,
        )

    return LambdaLR(optimizer, factor)


def go_on_from(scheduler: Any, step: int) -> None:
    """Bring a schedule that was just built to the step where the run stands.

    A Trainer that fits again, with more epochs, builds optimizer and schedule anew and goes on counting steps. A
    schedule out of a checkpoint knows its step already.

    Args:
        scheduler: of the optimizer; whatever is no `LambdaLR` is left alone.
        step: optimizer steps made, counted over all fits.
    """
    if isinstance(scheduler, LambdaLR) and scheduler.last_epoch == 0 < step:
        scheduler.last_epoch = step
        for group, base, factor in zip(
            scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = base * factor(step)
        scheduler._last_lr = [group["lr"] for group in scheduler.optimizer.param_groups]


def check_schedule(config: MethodConfig, max_steps: int | None) -> None:
    """Refuse a cosine, of learning rate or weight decay, over a run without a known end.

    Raises:
        ConfigError: saying what to give.
    """
    if config.lr_schedule == "cosine" and max_steps is None:
        raise ConfigError(
            "lr_schedule=cosine needs a run with an end: give the Trainer max_epochs or max_steps, max_steps where the "
            "loader has no length"
        )
    if config.final_weight_decay is not None and max_steps is None:
        raise ConfigError(
            "final_weight_decay needs a run with an end: give the Trainer max_epochs or max_steps, max_steps where the "
            "loader has no length"
        )


def lr_factor(step: int, schedule: str, warmup_steps: int, max_steps: int | None, *, floor: float = 0.0) -> float:
    """Return the factor on the learning rate for a step, counted from 0.

    Linear from ``1 / (warmup_steps + 1)`` to 1 over the warm-up, so that no step is lost on a rate of zero; then 1,
    or half a cosine that would reach ``floor`` at ``max_steps``, and stays there.

    >>> [round(lr_factor(step, "cosine", 1, 5), 3) for step in (0, 1, 3, 5, 9)]
    [0.5, 1.0, 0.5, 0.0, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant" or step == warmup_steps:
        return 1.0
    progress = (step - warmup_steps) / max(1, (max_steps or 0) - warmup_steps)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
