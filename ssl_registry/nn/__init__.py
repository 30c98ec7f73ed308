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
- `tokens`: `tokens`, what a network computes before it pools, of all patches or some; `MaskToken`
- `masks`: `random_mask`, `block_mask`, `multi_block_masks`
- `patches`: `patchify`, `unpatchify`, `normalize_patches`, `select_patches`
- `decoder`: `TokenDecoder`, `sine_cosine_positions`

Nothing here knows a method, Lightning or the registry.
"""

from __future__ import annotations

from ssl_registry.nn.collect import StepCollector
from ssl_registry.nn.decoder import TokenDecoder, sine_cosine_positions
from ssl_registry.nn.encoders import SignalEncoder, TableEncoder
from ssl_registry.nn.freezing import Frozen, FrozenModuleList, evaluating, freeze
from ssl_registry.nn.functions import FunctionModule, as_module
from ssl_registry.nn.gather import gather, rank, world_size
from ssl_registry.nn.heads import MLP, prediction_head, projection_head
from ssl_registry.nn.masks import BlockMasks, PatchMask, block_mask, multi_block_masks, random_mask
from ssl_registry.nn.momentum import (
    cosine_schedule,
    deactivate_requires_grad,
    update_momentum,
)
from ssl_registry.nn.patches import normalize_patches, patchify, select_patches, unpatchify
from ssl_registry.nn.repeated import RepeatedModuleList
from ssl_registry.nn.stacked import apply_each
from ssl_registry.nn.tokens import MaskToken, Tokens, tokens

__all__ = [
    "MLP",
    "BlockMasks",
    "Frozen",
    "FrozenModuleList",
    "FunctionModule",
    "MaskToken",
    "PatchMask",
    "RepeatedModuleList",
    "SignalEncoder",
    "StepCollector",
    "TableEncoder",
    "TokenDecoder",
    "Tokens",
    "apply_each",
    "as_module",
    "block_mask",
    "cosine_schedule",
    "deactivate_requires_grad",
    "evaluating",
    "freeze",
    "gather",
    "multi_block_masks",
    "normalize_patches",
    "patchify",
    "prediction_head",
    "projection_head",
    "random_mask",
    "rank",
    "select_patches",
    "sine_cosine_positions",
    "tokens",
    "unpatchify",
    "update_momentum",
    "world_size",
]
