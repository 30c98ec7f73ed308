"""Whether tensors are the weights of a backbone: all of it, and nothing of a larger network."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence, Set

import torch
from torch import Tensor, nn

from ssl_registry._system.terminal import one_line

__all__ = ["CLASSIFIERS", "COUNTER", "converted_by_timm", "listed", "problem_of"]

# What torchvision, timm and others call the layer behind the features.
CLASSIFIERS = ("fc", "head", "heads", "classifier")
# BatchNorm counts its batches since torch 0.4.1; older files do not have it, and nothing in evaluation depends on it.
COUNTER = "num_batches_tracked"
# Names in a message.
SHOWN = 3


def problem_of(module: nn.Module, own: Mapping[str, Tensor], under: Mapping[str, Tensor]) -> str:
    """Return in words why tensors are not the whole of a backbone, or are of a larger one; empty if they are it."""
    for name in (name for name in own if name in under):
        theirs, ours = under[name], own[name]
        if theirs.shape != ours.shape:
            return f"{name} has shape {list(theirs.shape)} there and {list(ours.shape)} here"
        if theirs.is_floating_point() != ours.is_floating_point() or theirs.is_complex() or theirs.is_quantized:
            return f"{name} holds {theirs.dtype} there and {ours.dtype} here"
        if theirs.is_meta or theirs.layout != torch.strided:
            return f"{name} has no numbers there"
        if not theirs.isfinite().all():
            return f"{name} holds numbers that are not finite"
    if missing := [name for name in own if name not in under and not name.endswith(COUNTER)]:
        return f"{len(missing)} of {len(own)} tensors are missing: there is no {listed(missing, own)}"
    parts = {name.partition(".")[0] for name in own if "." in name}
    more = next((name for name in under if name not in own and _is_of_the_network(name, module, parts)), None)
    return "" if more is None else f"it has {one_line(more)}, which this backbone has not"


def _is_of_the_network(name: str, module: nn.Module, parts: Set[str]) -> bool:
    """Tell whether a tensor beside the backbone's belongs to a larger network, and not to a classifier or a decoder."""
    told = (getattr(module, "pretrained_cfg", None) or {}).get("classifier") or ()
    heads = (told,) if isinstance(told, str) else tuple(told)
    if not any("." in head for head in heads):  # where it is called head.fc, other parts of head are the backbone's
        heads += CLASSIFIERS
    if any(f"{name}.".startswith(f"{head}.") for head in heads):
        return False
    first, dot, _ = name.partition(".")
    if first in parts:
        return True  # a block that this backbone has not
    if not dot:
        return "token" in first and "mask" not in first  # registers, a distillation token
    return hasattr(module, first) and isinstance(getattr(module, first), nn.Identity | None)  # switched off here


def converted_by_timm(module: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
    """Return weights as timm itself brings them to one of its networks: older names, positions of another grid."""
    source = sys.modules.get(type(module).__module__)
    convert = getattr(source, "checkpoint_filter_fn", None) if type(module).__module__.startswith("timm.") else None
    if convert is None:
        return None
    try:
        converted = convert(dict(weights), module)
    except Exception:  # it was written for weights of this network; of others it may make anything
        return None
    return {name: value for name, value in converted.items() if isinstance(value, Tensor)}


def listed(names: Sequence[str], tensors: Mapping[str, Tensor]) -> str:
    """Return the first few names with their shapes, and how many more there are."""
    shown = [f"{one_line(name)[:80]} {list(tensors[name].shape)}" for name in names[:SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
