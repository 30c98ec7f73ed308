"""The method: each view predicts the center of the global ones, and the embeddings are an isotropic Gaussian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import MLP
from ssl_registry.views import ViewPolicy, augmented_view
from ssl_registry_lejepa.loss import prediction_error, random_directions, sigreg

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class LeJEPA:
    """LeJEPA, self-supervised learning without the heuristics (Balestriero and LeCun, 2025), arXiv:2511.08544.

    With z_v the embeddings of the views of a batch and m the mean of the global ones,

        loss = (1 - lambd) * mean over views of |z_v - m|^2 / dim + lambd * mean over views of SIGReg(z_v).

    SIGReg is the Epps-Pulley statistic, which compares the embeddings with a standard Gaussian along random directions.
    They are drawn anew for each batch, equally on all ranks, and the statistic is that of the samples of all ranks. It
    alone prevents collapse: no teacher, no stopped gradient, no predictor, no schedule.

    Views are global (large crops) and local (small crops, of 98 pixels at 224). A vision transformer takes the local
    ones with ``backbone_kwargs={"dynamic_img_size": True}``; patches of 14 pixels divide 98, for others give
    ``local_size``.

    Heads: ``projection_head``, which can be replaced by name.
    """

    needs = Needs(
        batch="64 and more: the distribution of the batch is tested", memory="one network; views of two sizes"
    )

    class Config(MethodConfig):
        """Options of LeJEPA."""

        learning_rate: float = Field(5e-4, gt=0, description="Peak learning rate; the authors' starting point.")
        weight_decay: float = Field(
            0.05, ge=0, description="Biases and norms are excluded; the authors: 0.05 for ViTs, 5e-4 for ResNets."
        )
        lambd: float = Field(0.05, ge=0, le=1, description="Weight of SIGReg; the prediction has the rest of 1.")
        hidden_dim: int = Field(2048, ge=1, description="Width inside the projection head.")
        projection_dim: int = Field(128, ge=1, description="Width of the embeddings.")
        projection_layers: int = Field(3, ge=1, description="Number of linear layers of the projection head.")
        directions: int = Field(1024, ge=1, description="Random directions of SIGReg, drawn anew for each batch.")
        knots: int = Field(17, ge=2, description="Points of SIGReg's quadrature on [0, t_max].")
        t_max: float = Field(3.0, gt=0, description="Highest frequency at which SIGReg compares.")
        global_views: int = Field(2, ge=1, description="Views of large crops, whose mean is predicted.")
        local_views: int = Field(6, ge=0, description="Views of small crops.")
        local_size: int | None = Field(
            None, ge=1, description="Side of the local views in pixels; None: 98 of 224 as of the image's."
        )

    declares = Declares(
        small={"hidden_dim": 16, "projection_dim": 8, "directions": 16, "knots": 5, "local_views": 2},
        symmetric=True,
        grows="SIGReg is a test statistic: the number of samples times an integral (section 4)",
        reference="ssl_registry_lejepa.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the projection head, three layers with BatchNorm in the authors' code."""
        config = self.config
        return {
            "projection_head": overrides.take(
                "projection_head",
                lambda: MLP(feature_dim, config.hidden_dim, config.projection_dim, num_layers=config.projection_layers),
            )
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Large and small crops with the same colors (the authors' README, data augmentation and views)."""
        config = self.config
        large = augmented_view(image_size, blur=0.5, crop_scale=(0.3, 1.0), solarize=0.2, copies=config.global_views)
        views = [large]
        if config.local_views:
            size = config.local_size or (max(1, round(image_size * 98 / 224)) if image_size else None)
            views.append(
                large.model_copy(update={"crop_scale": (0.05, 0.3), "size": size, "copies": config.local_views})
            )
        return ViewPolicy(views=tuple(views), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> dict[str, Tensor]:
        """Compute both terms over all views, and the loss from them."""
        config = self.config
        # One view after the other: concatenated, they would share BatchNorm's statistics.
        z = torch.stack([self.forward(model, view) for view in views])
        dtype = torch.promote_types(z.dtype, torch.float32)
        directions = random_directions(z.shape[-1], config.directions, generator=ctx.shared_generator, dtype=dtype)
        prediction = prediction_error(z, min(config.global_views, len(views)))
        gaussian = sigreg(z, directions, knots=config.knots, t_max=config.t_max)
        loss = (1 - config.lambd) * prediction + config.lambd * gaussian
        return {"loss": loss, "prediction": prediction, "sigreg": gaussian}

    @staticmethod
    def forward(model: SSLModule, x: Tensor) -> Tensor:
        """Return the embedding [batch, projection_dim] of one view."""
        embedding: Tensor = model.heads["projection_head"](model(x))
        return embedding
