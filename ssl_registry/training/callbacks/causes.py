"""Why a network has collapsed: what can be seen in the model and its inputs, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from ssl_registry.measures.collapse import feature_spread
from ssl_registry.model.module import SSLModule

__all__ = ["likely_causes"]

SAME_INPUTS = 0.01
SMALL_BATCH = 16
SLOW_MOMENTUM = 0.5
HIGH_WEIGHT_DECAY = 0.1


def likely_causes(model: SSLModule, constant: set[str], inputs: Tensor | None) -> list[str]:
    """Return causes in words, the likeliest first: those with evidence, then what remains.

    Args:
        model: that collapsed.
        constant: names of the outputs that tell no sample from another.
        inputs: a batch of the backbone's, [batch, *input_shape], if one was seen.
    """
    return [*_with_evidence(model, constant, inputs), *_in_general(model)]


def _with_evidence(model: SSLModule, constant: set[str], inputs: Tensor | None) -> Iterator[str]:
    if inputs is not None and float(feature_spread(inputs.flatten(1))) < SAME_INPUTS:
        yield "the views that reach the backbone are all the same: look at the data and at the recipe"
    heads = sorted(constant - {"backbone"})
    if heads and "backbone" not in constant:
        yield (
            f"{heads[0]} alone gives a constant while the backbone still tells samples apart: a head that ignores its "
            "input, dead units, or weights at zero"
        )
    empty = [name for name, head in model.heads.items() if name.endswith("_head") and _is_empty(head)]
    if empty:
        yield f"{empty[0]} has no parameters: a method that only attracts views collapses without it"
    momentum = getattr(model.config, "momentum", None)
    if "target" in model.heads and isinstance(momentum, float) and momentum < SLOW_MOMENTUM:
        yield f"momentum={momentum} lets the target follow at once; 0.9 to 0.996 keep it apart"
    if inputs is not None and len(inputs) < SMALL_BATCH and _has_batch_norm(model):
        yield f"a batch of {len(inputs)} is small for BatchNorm and for anything that compares samples"
    decay = model.config.weight_decay
    if decay >= HIGH_WEIGHT_DECAY and model.config.optimizer != "adamw":
        yield f"weight_decay={decay} is strong for {model.config.optimizer}"


def _in_general(model: SSLModule) -> Iterator[str]:
    rate, warmup = model.config.learning_rate, model.config.warmup_steps
    yield f"learning_rate={rate} is too high for {model.config.optimizer}" + (
        "" if warmup else ", or wants warmup_steps"
    )
    yield "the views have too much in common, or nothing: look at them in the report"
    yield "the loss does not keep samples apart"


def _is_empty(module: nn.Module) -> bool:
    return next(module.parameters(), None) is None


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
