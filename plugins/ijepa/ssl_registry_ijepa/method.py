"""The method: from one part of a sample, predict what a slow copy of the network makes of other parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.errors import ConfigError
from ssl_registry.nn import (
    BlockMasks,
    MomentumTeacher,
    TokenDecoder,
    deactivate_requires_grad,
    linear_schedule,
    multi_block_masks,
    select_patches,
    tokens,
    update_momentum,
)
from ssl_registry.views import ImageView, ViewPolicy
from ssl_registry_ijepa.loss import latent_loss

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class IJEPA:
    """Image-based joint-embedding predictive architecture (Assran et al., 2023), arXiv:2301.08243.

    The teacher (the paper's target encoder) sees the whole image. The backbone (context encoder) sees the patches of a
    large block that are in none of four target blocks. A narrow transformer, the predictor, gets its tokens and the
    positions of one target block at a time, and predicts the teacher's tokens there. Blocks of a signal are runs of
    its steps. After each optimizer step

        teacher <- momentum * teacher + (1 - momentum) * backbone,

    where the momentum rises along a straight line over the run. The teacher is the product: it is what is evaluated and
    exported (section 5).

    Heads: ``predictor``, called with the tokens of the context, their indices and the indices of the wanted patches, as
    `ssl_registry.nn.TokenDecoder`; ``teacher``, whose first part is the copy of the backbone.
    """

    needs = Needs(
        batch="any: samples are not compared",
        memory="a second backbone; a predictor",
        modalities=("image", "signal"),
        tokens="keep",
        backbone="vit_small_patch16_224",
        backbone_kwargs={"class_token": False, "global_pool": "avg"},  # the paper's network has no class token
    )

    class Config(MethodConfig):
        """Options of I-JEPA."""

        weight_decay: float = Field(0.04, ge=0, description="Weight decay; biases, norms and tokens are excluded.")
        num_targets: int = Field(4, ge=1, description="Target blocks of an image.")
        target_scale: float = Field(0.175, gt=0, lt=1, description="Share of the patches that a target block has.")
        predictor_dim: int = Field(384, ge=4, multiple_of=4, description="Width of the predictor.")
        predictor_depth: int = Field(6, ge=1, description="Transformer blocks of the predictor.")
        predictor_heads: int = Field(12, ge=1, description="Attention heads of the predictor; they divide its width.")
        momentum: float = Field(0.996, ge=0, le=1, description="The teacher's momentum at the first step.")
        final_momentum: float = Field(1.0, ge=0, le=1, description="The teacher's momentum at the run's end.")

    declares = Declares(
        small={"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2},
        reference="ssl_registry_ijepa.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(
        self, backbone: nn.Module, token_dim: int, token_grid: tuple[int, ...], overrides: Overrides
    ) -> dict[str, nn.Module]:
        """Build the predictor, and the teacher as a frozen copy of the backbone."""
        config = self.config
        try:
            self.masks(1, token_grid)
        except ValueError as error:
            raise ConfigError(f"num_targets and target_scale do not suit this backbone: {error}") from error
        if config.predictor_dim % config.predictor_heads:
            raise ConfigError(
                f"predictor_heads={config.predictor_heads} does not divide predictor_dim={config.predictor_dim}"
            )
        size = {"dim": config.predictor_dim, "depth": config.predictor_depth, "num_heads": config.predictor_heads}
        teacher = overrides.take("teacher", lambda: MomentumTeacher(backbone))
        deactivate_requires_grad(teacher)  # the user's own, too
        predictor = overrides.take("predictor", lambda: TokenDecoder(token_dim, token_dim, token_grid, **size))
        return {"predictor": predictor, "teacher": teacher}

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """One random crop and nothing else (section 4 and appendix A); signals stay as they are."""
        if image_size is None:
            return ViewPolicy.plain()
        return ViewPolicy(views=(ImageView(crop_scale=(0.3, 1.0)),), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Predict the teacher's tokens of each target block from the context."""
        x, grid = views[0], model.token_grid
        assert grid is not None  # it was asked for
        chosen = self.masks(len(x), grid, generator=ctx.generator)
        blocks, size = chosen.targets.shape[1:]
        with torch.no_grad():
            whole = tokens(model.heads["teacher"][0], x).patches  # [B, N, D]
        target = select_patches(whole, chosen.targets.flatten(1)).view(len(x) * blocks, size, -1)
        context = model.tokens(x, keep=chosen.context).patches
        # One target block at a time (section 3): they do not see each other's positions.
        seen, keep = (part.repeat_interleave(blocks, 0) for part in (context, chosen.context))
        prediction = model.heads["predictor"](seen, keep, chosen.targets.flatten(0, 1))
        return latent_loss(prediction, target)

    def masks(self, batch_size: int, grid: tuple[int, ...], **where: Any) -> BlockMasks:
        """Draw a batch's context and target blocks; ``where`` is the generator or the device."""
        number, scale = self.config.num_targets, self.config.target_scale
        return multi_block_masks(batch_size, grid, num_targets=number, target_scale=scale, **where)

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the teacher towards the backbone; the momentum rises along a straight line (appendix A)."""
        momentum = linear_schedule(ctx.step - 1, ctx.max_steps, self.config.momentum, self.config.final_momentum)
        ctx.log("momentum", momentum)
        update_momentum(model.backbone, model.heads["teacher"], momentum)

    @hookimpl
    def product(self, model: SSLModule) -> nn.Module:
        """The teacher's copy of the backbone (section 5)."""
        network: nn.Module = model.heads["teacher"][0]
        return network
