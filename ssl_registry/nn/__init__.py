"""Blocks for authors of methods: the parts that every method needs and many get wrong.

- `heads`: `MLP`, a projection or prediction head; `bottleneck_mlp`, the one in front of prototypes
- `encoders`: `SignalEncoder` and `TableEncoder`, small backbones for what timm has none for; `signal_networks`:
  `DilatedEncoder` and `ResNet1d`; `token_transformers`: `SignalTransformer` and `TableTransformer`
- `momentum`: `MomentumTeacher` and `update_momentum`, a moving average of a network; `deactivate_requires_grad`
- `schedules`: `cosine_schedule`, `linear_schedule`, values by optimizer step
- `freezing`: `freeze` and its token `Frozen`, `FrozenModuleList`, `evaluating`
- `gather`: `gather`, `all_sum`, `all_mean`, over all ranks with gradient; `rank`, `world_size`
- `covariance`: `off_diagonal_squares`, what different dimensions have in common
- `collect`: `StepCollector`, from the micro-batches of a step to its end; `not_collecting`
- `queue`: `Queue`, vectors of past batches
- `marginals`: `Marginals`, features of a table replaced by values that they take elsewhere
- `center`: `Center`, the moving mean of a teacher's outputs
- `prototypes`: `Prototypes`, a linear layer on the unit sphere
- `sinkhorn`: `sinkhorn`, assignments that use all prototypes equally
- `similarity`: `NegativeCosineSimilarity`, the loss of BYOL and SimSiam
- `koleo`: `koleo_loss`, features spread evenly over the sphere
- `contrast`: `info_nce`, each query finds its key among others
- `nt_xent`: `nt_xent`, each vector of two views finds its partner, in groups
- `crops`: `forward_crops`, views of several sizes through a network
- `cross_views`: `cross_view_entropy`, one view's assignment predicted from the other views
- `repeated`: `RepeatedModuleList`
- `functions`: `as_module`, a function made a module
- `tokens`: `tokens`, what a network computes before it pools, of all patches or some; `MaskToken`, `embedding_dim`
- `masks`: `random_mask`, `block_mask`, `multi_block_masks`
- `patches`: `patch_sides`, `patchify`, `unpatchify`, `normalize_patches`, `denormalize_patches`, `select_patches`,
  `replace_patches`
- `view_masks`: `view_block_masks`, of several views some are masked, at ratios of their own; `masked_counts`
- `token_crops`: `forward_token_crops`, tokens of views of several sizes; `class_token`, `class_and_patch_outputs`
- `masked_entropy`: `masked_entropy`, a masked patch's assignment predicted
- `gram`: `gram_loss`, patches keep their similarities to each other; `resize_patches`
- `decoder`: `TokenDecoder`, `sine_cosine_positions`

Nothing here knows a method, Lightning or the registry.
"""

from __future__ import annotations

from ssl_registry.nn.center import Center
from ssl_registry.nn.collect import StepCollector, not_collecting
from ssl_registry.nn.contrast import info_nce
from ssl_registry.nn.covariance import off_diagonal_squares
from ssl_registry.nn.crops import forward_crops
from ssl_registry.nn.cross_views import cross_view_entropy
from ssl_registry.nn.decoder import TokenDecoder, sine_cosine_positions
from ssl_registry.nn.encoders import SignalEncoder, TableEncoder
from ssl_registry.nn.freezing import Frozen, FrozenModuleList, evaluating, freeze
from ssl_registry.nn.functions import FunctionModule, as_module
from ssl_registry.nn.gather import all_mean, all_sum, gather, rank, world_size
from ssl_registry.nn.gram import gram_loss, resize_patches
from ssl_registry.nn.heads import MLP, bottleneck_mlp
from ssl_registry.nn.koleo import koleo_loss
from ssl_registry.nn.marginals import Marginals
from ssl_registry.nn.masked_entropy import masked_entropy
from ssl_registry.nn.masks import BlockMasks, PatchMask, block_mask, multi_block_masks, random_mask
from ssl_registry.nn.momentum import MomentumTeacher, deactivate_requires_grad, update_momentum
from ssl_registry.nn.nt_xent import nt_xent
from ssl_registry.nn.patches import (
    denormalize_patches,
    normalize_patches,
    patch_sides,
    patchify,
    replace_patches,
    select_patches,
    unpatchify,
)
from ssl_registry.nn.prototypes import Prototypes
from ssl_registry.nn.queue import Queue
from ssl_registry.nn.repeated import RepeatedModuleList
from ssl_registry.nn.schedules import cosine_schedule, linear_schedule
from ssl_registry.nn.signal_networks import DilatedEncoder, ResNet1d
from ssl_registry.nn.similarity import NegativeCosineSimilarity
from ssl_registry.nn.sinkhorn import sinkhorn
from ssl_registry.nn.token_crops import TokenCrops, class_and_patch_outputs, class_token, forward_token_crops
from ssl_registry.nn.token_transformers import SignalTransformer, TableTransformer
from ssl_registry.nn.tokens import MaskToken, Tokens, embedding_dim, tokens
from ssl_registry.nn.view_masks import ViewMasks, masked_counts, view_block_masks

__all__ = [
    "MLP",
    "BlockMasks",
    "Center",
    "DilatedEncoder",
    "Frozen",
    "FrozenModuleList",
    "FunctionModule",
    "Marginals",
    "MaskToken",
    "MomentumTeacher",
    "NegativeCosineSimilarity",
    "PatchMask",
    "Prototypes",
    "Queue",
    "RepeatedModuleList",
    "ResNet1d",
    "SignalEncoder",
    "SignalTransformer",
    "StepCollector",
    "TableEncoder",
    "TableTransformer",
    "TokenCrops",
    "TokenDecoder",
    "Tokens",
    "ViewMasks",
    "all_mean",
    "all_sum",
    "as_module",
    "block_mask",
    "bottleneck_mlp",
    "class_and_patch_outputs",
    "class_token",
    "cosine_schedule",
    "cross_view_entropy",
    "deactivate_requires_grad",
    "denormalize_patches",
    "embedding_dim",
    "evaluating",
    "forward_crops",
    "forward_token_crops",
    "freeze",
    "gather",
    "gram_loss",
    "info_nce",
    "koleo_loss",
    "linear_schedule",
    "masked_counts",
    "masked_entropy",
    "multi_block_masks",
    "normalize_patches",
    "not_collecting",
    "nt_xent",
    "off_diagonal_squares",
    "patch_sides",
    "patchify",
    "random_mask",
    "rank",
    "replace_patches",
    "resize_patches",
    "select_patches",
    "sine_cosine_positions",
    "sinkhorn",
    "tokens",
    "unpatchify",
    "update_momentum",
    "view_block_masks",
    "world_size",
]
