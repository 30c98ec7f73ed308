"""The method: squares of an image are masked, and one linear layer predicts their pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, Reconstruction, hookimpl
from ssl_registry.errors import ConfigError
from ssl_registry.nn import (
    MaskToken,
    PatchMask,
    embedding_dim,
    patch_sides,
    patchify,
    random_mask,
    replace_patches,
    select_patches,
    unpatchify,
)
from ssl_registry.views import ImageView, ViewPolicy
from ssl_registry_simmim.loss import masked_l1

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule

PAPERS_UNIT = 32  # pixels, of images of 192 (section 3.2)
UNITS_A_SIDE = 6


class SimMIM:
    """SimMIM, a simple framework for masked image modeling (Xie et al., 2021), arXiv:2111.09886.

    Random squares of an image are masked: a learned token takes the place of their embedded patches, and the backbone
    computes all of them together. One linear layer predicts the pixels of the masked patches from their tokens; the
    loss is the mean absolute difference.

    The backbone is a vision transformer of timm, a Swin or a ConvNeXt, where the token stands behind the stem, or a
    module of yours whose method ``tokens`` can mask patches.

    Heads: ``decoder``, from a token to the pixels of its patch; ``mask_token``, which returns the token.
    """

    needs = Needs(
        batch="any: samples are not compared",
        memory="one network and a linear layer",
        modalities=("image",),
        tokens="mask",
        backbone="vit_small_patch16_224",
        # The loss is of patch tokens alone, so their mean is the feature: no class token learns anything here.
        backbone_kwargs={"global_pool": "avg"},
    )

    class Config(MethodConfig):
        """Options of SimMIM."""

        learning_rate: float = Field(1e-4, gt=0, description="Peak learning rate; the authors' for 256 samples.")
        weight_decay: float = Field(0.05, ge=0, description="Weight decay; biases, norms and tokens are excluded.")
        mask_ratio: float = Field(0.6, gt=0, lt=1, description="Share of the squares that is masked.")
        mask_unit: int | None = Field(
            None,
            ge=1,
            description="Side in pixels of the squares that are masked; default: at most 32, and a sixth of the image.",
        )

    declares = Declares(small={"mask_unit": 4}, reference="ssl_registry_simmim.reference:loss")

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
        """Build the linear layer and the mask token."""
        sides = patch_sides(input_shape, token_grid)
        squares = math.prod(token_grid) // self.unit(sides, token_grid) ** 2
        if not 0 < round(self.config.mask_ratio * squares) < squares:
            raise ConfigError(
                f"mask_ratio={self.config.mask_ratio} of {squares} squares masks none or all; give another, a smaller "
                "mask_unit, or a larger image_size"
            )
        values = input_shape[0] * math.prod(sides)
        return {
            "decoder": overrides.take("decoder", lambda: nn.Linear(token_dim, values)),
            "mask_token": overrides.take("mask_token", lambda: MaskToken(embedding_dim(backbone, token_dim))),
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """One random crop of at least two thirds, flipped or not (section 4.1)."""
        return ViewPolicy(views=(ImageView(crop_scale=(0.67, 1.0), flip=0.5),), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Predict the pixels of the masked patches."""
        prediction, patches, choice = self._predict(model, views[0], ctx)
        return masked_l1(prediction, patches, choice.masked)

    @hookimpl
    def reconstruct(self, model: SSLModule, x: Tensor, ctx: Context) -> Reconstruction:
        """Put the predicted squares in the place of those that were masked."""
        prediction, patches, choice = self._predict(model, x, ctx)
        assert model.token_grid is not None  # it was asked for
        sides = patch_sides(model.input_shape, model.token_grid)
        output = unpatchify(replace_patches(patches, choice.masked, prediction), model.token_grid, sides)
        return Reconstruction(output, choice.mask.view(-1, *model.token_grid))

    def _predict(self, model: SSLModule, x: Tensor, ctx: Context) -> tuple[Tensor, Tensor, PatchMask]:
        """Return predictions of the masked patches [batch, M, values], all true patches, and which were masked."""
        grid = model.token_grid
        assert grid is not None  # it was asked for
        sides = patch_sides(model.input_shape, grid)
        unit = self.unit(sides, grid)
        choice = random_mask(len(x), grid, self.config.mask_ratio, unit=unit, generator=ctx.generator)
        found = model.tokens(x, mask=choice.mask, mask_token=model.heads["mask_token"]()).patches
        prediction = model.heads["decoder"](select_patches(found, choice.masked))
        return prediction, patchify(x, sides), choice

    def unit(self, sides: Sequence[int], grid: Sequence[int]) -> int:
        """Return the side of the masked squares in patches.

        Args:
            sides: height and width of a patch in pixels.
            grid: rows and columns of patches.

        Raises:
            ConfigError: if ``mask_unit`` is no number of patches, or does not divide the image.
        """
        given = self.config.mask_unit
        fitting = [unit for unit in range(1, min(grid) + 1) if all(steps % unit == 0 for steps in grid)]
        if given is None:
            most = min(PAPERS_UNIT, min(s * n for s, n in zip(sides, grid, strict=True)) / UNITS_A_SIDE)
            return max((unit for unit in fitting if unit * max(sides) <= most), default=1)
        if any(given != side * (given // side) for side in sides) or given // sides[0] not in fitting:
            allowed = ", ".join(str(unit * sides[0]) for unit in fitting)
            raise ConfigError(f"mask_unit={given} does not fit patches of {sides} in a grid of {grid}; give {allowed}")
        return given // sides[0]
