"""Optimizers by timm's names, parameter groups without decay of biases and norms, and the step schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ssl_registry.contract.config import MethodConfig
from ssl_registry.errors import ConfigError, did_you_mean

__all__ = ["build_optimizer", "build_scheduler", "default_param_groups"]


def default_param_groups(modules: Iterable[nn.Module]) -> list[dict[str, Any]]:
    """Split all trainable parameters into those with weight decay and those without.

    Biases, norms and other parameters of at most one axis get ``weight_decay=0``. LARS reads the same sign:
    without decay it leaves a parameter's step unscaled, as You et al. (2017) and SimCLR (appendix B.6) do.
    """
    trainable = [p for module in modules for p in module.parameters() if p.requires_grad]
    decay = [p for p in trainable if p.ndim > 1]
    rest = [p for p in trainable if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decay}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


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
    if fused and not arguments.keys() & {"fused", "foreach", "differentiable"} and _can_fuse(groups, config.optimizer):
        arguments["fused"] = True
    rates: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    try:
        optimizer: Optimizer = create_optimizer_v2(groups, opt=config.optimizer, **rates, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer {config.optimizer} does not take {config.optimizer_kwargs}: {error}") from error
    return optimizer


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
        config: ``lr_schedule`` and ``warmup_steps``.
        max_steps: gives the run's length, once it is known; step 0 does not need it.
    """
    if config.lr_schedule == "constant" and config.warmup_steps == 0:
        return None

    def factor(step: int) -> float:
        return lr_factor(step, config.lr_schedule, config.warmup_steps, max_steps())

    return LambdaLR(optimizer, factor)


def check_schedule(config: MethodConfig, max_steps: int | None) -> None:
    """Refuse a cosine over a run without a known end.

    Raises:
        ConfigError: saying what to give.
    """
    if config.lr_schedule == "cosine" and max_steps is None:
        raise ConfigError("lr_schedule=cosine needs a run with an end: give the Trainer max_epochs or max_steps")


def lr_factor(step: int, schedule: str, warmup_steps: int, max_steps: int | None) -> float:
    """Return the factor on the learning rate for a step, counted from 0.

    Linear from ``1 / (warmup_steps + 1)`` to 1 over the warm-up, so that no step is lost on a rate of zero; then 1,
    or half a cosine that would reach 0 at ``max_steps``, and stays there.

    >>> [round(lr_factor(step, "cosine", 1, 5), 3) for step in (0, 1, 3, 5, 9)]
    [0.5, 1.0, 0.5, 0.0, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant" or step == warmup_steps:
        return 1.0
    progress = (step - warmup_steps) / max(1, (max_steps or 0) - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
