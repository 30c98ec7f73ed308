"""The method: from a masked image, predict what a slow copy of the network makes of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.nn import (
    MaskToken,
    MomentumTeacher,
    block_mask,
    deactivate_requires_grad,
    embedding_dim,
    linear_schedule,
    select_patches,
    tokens,
    update_momentum,
)
from ssl_registry.views import ImageView, ViewPolicy
from ssl_registry_data2vec.target import averaged_target

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class Data2Vec:
    """data2vec (Baevski et al., 2022), arXiv:2202.03555, for images.

    The teacher sees the whole image; the target is the mean of its top blocks, each normalized. The student, the
    backbone, sees the image with blocks of patches masked, and a linear layer predicts the target at these patches from
    its tokens. After each optimizer step

        teacher <- momentum * teacher + (1 - momentum) * backbone,

    where the momentum may rise along a straight line over the first steps. The student is what is evaluated.

    Heads: ``regression_head``, from a token to the target; ``mask_token``; ``teacher``, whose first part is the copy of
    the backbone.
    """

    needs = Needs(
        batch="any: samples are not compared",
        memory="a second backbone",
        modalities=("image",),
        tokens="mask",
        backbone="vit_small_patch16_224",
        backbone_kwargs={"global_pool": "avg"},  # as the paper fine-tunes: the mean of the patch tokens (section 4.1)
    )

    class Config(MethodConfig):
        """Options of data2vec."""

        weight_decay: float = Field(0.05, ge=0, description="Weight decay; biases, norms and tokens are excluded.")
        mask_ratio: float = Field(0.6, gt=0, lt=1, description="Share of the patches that is masked, in blocks.")
        min_block: int = Field(16, ge=1, description="Least number of patches of a block.")
        top_layers: int = Field(6, ge=1, description="Blocks of the teacher, from its last one, that are averaged.")
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
        self, backbone: nn.Module, token_dim: int, token_grid: tuple[int, ...], overrides: Overrides
    ) -> dict[str, nn.Module]:
        """Build the linear layer, the mask token, and the teacher as a frozen copy of the backbone."""
        if embedding_dim(backbone, token_dim) != token_dim:
            raise BackboneError(
                f"data2vec averages blocks of one width, and those of {type(backbone).__name__} differ; use a vision "
                "transformer, such as backbone='vit_small_patch16_224' or 'eva02_small_patch14_224'"
            )
        try:
            masked = block_mask(1, token_grid, self.config.mask_ratio).masked
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
        """One crop, flipped or not, with its colours changed (section 4.1): the same for student and teacher."""
        jitter = {"color_jitter": 1.0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4}
        view = ImageView(crop_scale=(0.08, 1.0), flip=0.5, **jitter)
        return ViewPolicy(views=(view,), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Predict the teacher's averaged blocks at the masked patches."""
        x, grid, config = views[0], model.token_grid, self.config
        assert grid is not None  # it was asked for
        choice = block_mask(len(x), grid, config.mask_ratio, min_patches=config.min_block, generator=ctx.generator)
        with torch.no_grad():
            whole = tokens(model.heads["teacher"][0], x, layers=range(-config.top_layers, 0))
        target = select_patches(averaged_target(whole.layers, config.target_norm), choice.masked)
        student = model.tokens(x, mask=choice.mask, mask_token=model.heads["mask_token"]()).patches
        prediction = model.heads["regression_head"](select_patches(student, choice.masked))
        return F.smooth_l1_loss(prediction.to(target.dtype), target, beta=config.beta)

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the teacher towards the backbone (section 3.1)."""
        config = self.config
        steps = config.momentum_steps or ctx.max_steps
        momentum = linear_schedule(ctx.step - 1, steps, config.momentum, config.final_momentum)
        ctx.log("momentum", momentum)
        update_momentum(model.backbone, model.heads["teacher"], momentum)
