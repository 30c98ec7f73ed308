"""Blocks for authors of methods: the parts that every method needs and many get wrong.

- `heads`: `MLP`, `projection_head`, `prediction_head`
- `encoders`: `SignalEncoder` and `TableEncoder`, small backbones for what timm has none for
- `momentum`: `update_momentum`, `cosine_schedule`, `deactivate_requires_grad`
- `freezing`: `freeze` and its token `Frozen`, `FrozenModuleList`, `evaluating`
- `gather`: `gather` with gradient, `rank`, `world_size`
- `repeated`: `RepeatedModuleList`
- `stacked`: `apply_each`, networks of one architecture computed together
- `collect`: `StepCollector`, from the micro-batches of a step to its end
- `functions`: `as_module`, a function in a module's clothes

Nothing here knows a method, Lightning or the registry.
"""

from __future__ import annotations

from ssl_registry.nn.collect import StepCollector
from ssl_registry.nn.encoders import SignalEncoder, TableEncoder
from ssl_registry.nn.freezing import Frozen, FrozenModuleList, evaluating, freeze
from ssl_registry.nn.functions import FunctionModule, as_module
from ssl_registry.nn.gather import gather, rank, world_size
from ssl_registry.nn.heads import MLP, prediction_head, projection_head
from ssl_registry.nn.momentum import (
    cosine_schedule,
    deactivate_requires_grad,
    update_momentum,
)
from ssl_registry.nn.repeated import RepeatedModuleList
from ssl_registry.nn.stacked import apply_each

__all__ = [
    "MLP",
    "Frozen",
    "FrozenModuleList",
    "FunctionModule",
    "RepeatedModuleList",
    "SignalEncoder",
    "StepCollector",
    "TableEncoder",
    "apply_each",
    "as_module",
    "cosine_schedule",
    "deactivate_requires_grad",
    "evaluating",
    "freeze",
    "gather",
    "prediction_head",
    "projection_head",
    "rank",
    "update_momentum",
    "world_size",
]
