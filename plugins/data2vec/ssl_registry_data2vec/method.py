"""The method: from a masked sample, predict what a slow copy of the network makes of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.nn import (
    MaskToken,
    MomentumTeacher,
    PatchMask,
    block_mask,
    deactivate_requires_grad,
    embedding_dim,
    linear_schedule,
    random_mask,
    select_patches,
    tokens,
    update_momentum,
)
from ssl_registry.views import ImageView, ViewPolicy
from ssl_registry_data2vec.target import averaged_target

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


TOP_LAYERS = 6  # the paper's, of networks of 12 blocks and more
# By the axes of the grid: BEiT's 16 patches, and the side of such a square.
MIN_BLOCK = {2: 16, 1: 4}


class Data2Vec:
    """data2vec (Baevski et al., 2022), arXiv:2202.03555.

    The teacher sees the whole sample; the target is the mean of its top blocks, each normalized. The student, the
    backbone, sees the sample with a part of its patches masked, and a linear layer predicts the target there from its
    tokens. Of images blocks of patches are masked, of signals runs of steps, and of tables features at random, which
    have no neighbors. After each optimizer step

        teacher <- momentum * teacher + (1 - momentum) * backbone,

    where the momentum may rise along a straight line over the first steps. The student is what is evaluated.

    Heads: ``regression_head``, from a token to the target; ``mask_token``; ``teacher``, whose first part is the copy of
    the backbone.
    """

    needs = Needs(
        batch="any: samples are not compared",
        memory="a second backbone",
        tokens="mask",
        backbone="vit_small_patch16_224",
        backbone_kwargs={"global_pool": "avg"},  # as the paper fine-tunes: the mean of the patch tokens (section 4.1)
    )

    class Config(MethodConfig):
        """Options of data2vec."""

        weight_decay: float = Field(0.05, ge=0, description="Weight decay; biases, norms and tokens are excluded.")
        mask_ratio: float = Field(0.6, gt=0, lt=1, description="Share of the patches that is masked, in blocks.")
        min_block: int | None = Field(
            None, ge=1, description="Least number of patches of a block; default: 16 of images, 4 steps of signals."
        )
        top_layers: int | None = Field(
            None,
            ge=1,
            description="Last blocks of the teacher, which are averaged; default: 6, or half of all if that is less.",
        )
        target_norm: Literal["layer", "instance"] = Field(
            "layer", description="Normalization of each block: of a token's values, or over an image's tokens."
        )
        beta: float = Field(2.0, gt=0, description="Where the smooth L1 loss goes over from squares to distances.")
        momentum: float = Field(0.9998, ge=0, le=1, description="The teacher's momentum at the first step.")
        final_momentum: float = Field(0.9998, ge=0, le=1, description="The teacher's momentum after its rise.")
        momentum_steps: int | None = Field(
            None, ge=1, description="Optimizer steps in which the momentum rises; default: the whole run."
        )

    declares = Declares(
        small={"top_layers": 2, "min_block": 2, "learning_rate": 0.0001},
        options={"momentum_steps": "it acts where the momentum rises: final_momentum is another than momentum"},
        reference="ssl_registry_data2vec.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(
        self,
        backbone: nn.Module,
        input_shape: tuple[int, ...],
        token_dim: int,
        token_grid: tuple[int, ...],
        overrides: Overrides,
    ) -> dict[str, nn.Module]:
        """Build the linear layer, the mask token, and the teacher as a frozen copy of the backbone."""
        if embedding_dim(backbone, token_dim) != token_dim:
            instead = {
                3: "a vision transformer, such as backbone='vit_small_patch16_224' or 'eva02_small_patch14_224'",
                2: "backbone='signal_transformer'",
                1: "backbone='table_transformer'",
            }[len(input_shape)]
            raise BackboneError(
                f"data2vec averages blocks of one width, and those of {type(backbone).__name__} differ; use {instead}"
            )
        try:
            masked = self.masks(1, input_shape, token_grid).masked
        except ValueError as error:
            raise ConfigError(f"mask_ratio does not suit this backbone: {error}") from error
        if not masked.numel():
            raise ConfigError(f"mask_ratio={self.config.mask_ratio} masks none of the patches; give a larger one")
        teacher = overrides.take("teacher", lambda: MomentumTeacher(backbone))
        deactivate_requires_grad(teacher)  # the user's own, too
        return {
            "regression_head": overrides.take("regression_head", lambda: nn.Linear(token_dim, token_dim)),
            "mask_token": overrides.take("mask_token", lambda: MaskToken(token_dim)),
            "teacher": teacher,
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """One crop, flipped or not, with its colours changed (section 4.1): the same for student and teacher.

        Signals stay as they are, as speech does in the paper (section 4.2), and so do tables.
        """
        if image_size is None:
            return ViewPolicy.plain()
        jitter = {"color_jitter": 1.0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4}
        view = ImageView(crop_scale=(0.08, 1.0), flip=0.5, **jitter)
        return ViewPolicy(views=(view,), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Predict the teacher's averaged blocks at the masked patches."""
        x, grid, config = views[0], model.token_grid, self.config
        assert grid is not None  # it was asked for
        choice = self.masks(len(x), model.input_shape, grid, generator=ctx.generator)
        teacher = model.heads["teacher"][0]
        with torch.no_grad():
            whole = tokens(teacher, x, layers=range(-(config.top_layers or default_layers(teacher)), 0))
        target = select_patches(averaged_target(whole.layers, config.target_norm), choice.masked)
        student = model.tokens(x, mask=choice.mask, mask_token=model.heads["mask_token"]()).patches
        prediction = model.heads["regression_head"](select_patches(student, choice.masked))
        return F.smooth_l1_loss(prediction.to(target.dtype), target, beta=config.beta)

    def masks(self, batch_size: int, input_shape: tuple[int, ...], grid: tuple[int, ...], **where: Any) -> PatchMask:
        """Draw a batch's masked patches; ``where`` is the generator or the device."""
        ratio = self.config.mask_ratio
        if len(input_shape) == 1:  # which features stand beside each other means nothing
            return random_mask(batch_size, grid, ratio, **where)
        return block_mask(batch_size, grid, ratio, min_patches=self.config.min_block or MIN_BLOCK[len(grid)], **where)

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the teacher towards the backbone (section 3.1)."""
        config = self.config
        steps = config.momentum_steps or ctx.max_steps
        momentum = linear_schedule(ctx.step - 1, steps, config.momentum, config.final_momentum)
        ctx.log("momentum", momentum)
        update_momentum(model.backbone, model.heads["teacher"], momentum)


def default_layers(network: nn.Module) -> int:
    """Return how many blocks of a network are averaged by default; one that does not show its blocks may have many."""
    blocks = getattr(network, "blocks", None)
    return (
        min(TOP_LAYERS, max(1, len(blocks) // 2)) if isinstance(blocks, nn.ModuleList | nn.Sequential) else TOP_LAYERS
    )
