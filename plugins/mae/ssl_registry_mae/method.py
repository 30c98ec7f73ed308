"""The method: an encoder that sees a quarter of the patches, and a light decoder that predicts the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, Reconstruction, hookimpl
from ssl_registry.errors import ConfigError
from ssl_registry.nn import (
    PatchMask,
    TokenDecoder,
    denormalize_patches,
    patch_sides,
    patchify,
    random_mask,
    replace_patches,
    select_patches,
    unpatchify,
)
from ssl_registry.views import ImageView, ViewPolicy
from ssl_registry_mae.loss import reconstruction_loss

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


NOTE = (
    "The decoder predicts values that are normalized in each patch (normalize_pixels); the predicted patches are drawn "
    "with mean and standard deviation of the true ones, which the decoder does not know."
)


class MAE:
    """Masked autoencoder (He et al., 2021), arXiv:2111.06377.

    Three quarters of an image's patches are dropped before the first block of the backbone. A light decoder gets what
    the backbone makes of the others, a mask token for each dropped patch, and all positions, and predicts the dropped
    patches' pixels, normalized in each patch. The loss is their squared distance. Patches of a signal are pieces of
    time, with all channels; those of a table are its features, whose values are predicted as they are.

    Each sample has a mask of its own, with as many patches as those of the others. The backbone is a vision transformer
    of timm (ViT, DeiT, DINOv2, EVA, DINOv3, ...), ``signal_transformer``, ``table_transformer``, or a module of yours
    whose method ``tokens`` can drop patches.

    Heads: ``decoder``, called with tokens of the visible patches, their indices, the indices of the masked patches and
    ``prefix``, as `ssl_registry.nn.TokenDecoder`.
    """

    needs = Needs(
        tokens="keep",
        batch="any: samples are not compared",
        memory="a decoder; a quarter of the backbone's activations",
    )

    class Config(MethodConfig):
        """Options of MAE."""

        learning_rate: float = Field(1.5e-4, gt=0, description="Peak learning rate; the paper's for 256 samples.")
        weight_decay: float = Field(0.05, ge=0, description="Weight decay; biases, norms and tokens are excluded.")
        optimizer_kwargs: dict[str, Any] = Field({"betas": [0.9, 0.95]}, description="Further optimizer arguments.")
        mask_ratio: float = Field(0.75, gt=0, lt=1, description="Share of the patches that is dropped and predicted.")
        normalize_pixels: bool = Field(
            True, description="Predict values that are normalized in each patch; without effect where it has one value."
        )
        decoder_dim: int = Field(512, ge=4, multiple_of=4, description="Width of the decoder.")
        decoder_depth: int = Field(8, ge=1, description="Transformer blocks of the decoder.")
        decoder_heads: int = Field(16, ge=1, description="Attention heads of the decoder; they divide its width.")

    declares = Declares(
        small={"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}, reference="ssl_registry_mae.reference:loss"
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(
        self, input_shape: tuple[int, ...], token_dim: int, token_grid: tuple[int, ...], overrides: Overrides
    ) -> dict[str, nn.Module]:
        """Build the decoder, from tokens to the pixels of a patch."""
        config, patches = self.config, math.prod(token_grid)
        if not 0 < round(config.mask_ratio * patches) < patches:
            larger = {3: ", a larger image_size, or a backbone with smaller patches", 2: ", or smaller patches"}
            raise ConfigError(
                f"mask_ratio={config.mask_ratio} of {patches} patches masks none or all; give another"
                + larger.get(len(input_shape), "")
            )
        if config.decoder_dim % config.decoder_heads:
            raise ConfigError(f"decoder_heads={config.decoder_heads} does not divide decoder_dim={config.decoder_dim}")
        patch_sides(input_shape, token_grid)  # refuses a grid that does not fill the sample
        values = math.prod(input_shape) // patches
        size = {"dim": config.decoder_dim, "depth": config.decoder_depth, "num_heads": config.decoder_heads}
        return {"decoder": overrides.take("decoder", lambda: TokenDecoder(token_dim, values, token_grid, **size))}

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """One random crop, flipped or not (appendix A.1); the crop's scale is that of the authors' code.

        Signals and tables stay as they are: what is hidden is change enough, and a crop would change what time means.
        """
        if image_size is None:
            return ViewPolicy.plain()
        return ViewPolicy(views=(ImageView(crop_scale=(0.2, 1.0), flip=0.5),), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Predict the pixels of the patches that the backbone did not see."""
        prediction, patches, choice = self._predict(model, views[0], ctx)
        return reconstruction_loss(prediction, patches, choice.masked, normalize=self.normalizes(patches))

    def normalizes(self, patches: Tensor) -> bool:
        """Whether targets are normalized: a patch of one value has no variance."""
        return self.config.normalize_pixels and patches.shape[-1] > 1

    @hookimpl
    def reconstruct(self, model: SSLModule, x: Tensor, ctx: Context) -> Reconstruction | None:
        """Put the predicted patches in the place of those that were dropped (figure 2); a table has no picture."""
        if x.ndim == 2:
            return None
        prediction, patches, choice = self._predict(model, x, ctx)
        normalized = self.normalizes(patches)
        if normalized:
            prediction = denormalize_patches(prediction, select_patches(patches, choice.masked))
        assert model.token_grid is not None  # it was asked for
        sides = patch_sides(model.input_shape, model.token_grid)
        output = unpatchify(replace_patches(patches, choice.masked, prediction), model.token_grid, sides)
        return Reconstruction(output, choice.mask.view(-1, *model.token_grid), NOTE if normalized else "")

    def _predict(self, model: SSLModule, x: Tensor, ctx: Context) -> tuple[Tensor, Tensor, PatchMask]:
        """Return predictions of the dropped patches [batch, M, values], all true patches, and which were dropped."""
        grid = model.token_grid
        assert grid is not None  # it was asked for
        choice = random_mask(len(x), grid, self.config.mask_ratio, generator=ctx.generator)
        seen = model.tokens(x, keep=choice.keep)
        prediction = model.heads["decoder"](seen.patches, choice.keep, choice.masked, prefix=seen.prefix)
        return prediction, patchify(x, patch_sides(model.input_shape, grid)), choice
