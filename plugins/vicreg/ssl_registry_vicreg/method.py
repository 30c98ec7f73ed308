"""The method: two views alike, every dimension alive, no two dimensions saying the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ssl_registry import Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import MLP
from ssl_registry.views import ViewPolicy, augmented_view
from ssl_registry_vicreg.loss import VICRegLoss

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class VICReg:
    """Variance-invariance-covariance regularization (Bardes et al., 2022), arXiv:2105.04906.

    With z and z' the embeddings of two views of the batch (equation 6),

        loss = invariance * mse(z, z') + variance * [v(z) + v(z')] + covariance * [c(z) + c(z')].

    Variance and covariance are those of the samples of all ranks. The last layer of the expander has no bias, as in the
    authors' code: no term depends on it.

    Heads: ``projection_head`` (the paper's expander), which can be replaced by name.
    """

    needs = Needs(
        batch="256 and more: statistics of the batch", memory="one network; a matrix of projection_dim squared at most"
    )

    class Config(MethodConfig):
        """Options of VICReg."""

        optimizer: str = Field("lars", min_length=1, description="A timm optimizer name.")
        learning_rate: float = Field(0.2, gt=0, description="Peak learning rate; the paper: 0.2 * batch size / 256.")
        weight_decay: float = Field(1e-6, ge=0, description="Weight decay; biases and norms are excluded.")
        projection_dim: int = Field(8192, ge=1, description="Width of all layers of the expander.")
        projection_layers: int = Field(3, ge=1, description="Number of linear layers of the expander.")
        invariance: float = Field(25.0, ge=0, description="Weight of the distance between the views.")
        variance: float = Field(
            25.0, ge=0, description="Weight of keeping every dimension alive; the authors' code takes half of it."
        )
        covariance: float = Field(1.0, ge=0, description="Weight of decorrelating the dimensions.")

    declares = Declares(
        small={"projection_dim": 16, "learning_rate": 0.001},
        symmetric=True,
        reference="ssl_registry_vicreg.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the expander: layers of one width (section 4.2)."""
        width, layers = self.config.projection_dim, self.config.projection_layers
        return {
            "projection_head": overrides.take(
                "projection_head", lambda: MLP(feature_dim, width, width, num_layers=layers, final_bias=False)
            )
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two views alike (appendix C.1): crop, flip, color, gray, solarization, and blur where it shows."""
        view = augmented_view(image_size, blur=0.5, solarize=0.1, copies=2)
        return ViewPolicy(views=(view,), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor]) -> dict[str, Tensor]:
        """Compute the three terms, and the loss from them."""
        # One view after the other: concatenated, they would share BatchNorm's statistics.
        z0, z1 = (self.forward(model, view) for view in views)
        invariance, variance, covariance = VICRegLoss().terms(z0, z1)
        weights = self.config
        loss = weights.invariance * invariance + weights.variance * variance + weights.covariance * covariance
        return {"loss": loss, "invariance": invariance, "variance": variance, "covariance": covariance}

    @staticmethod
    def forward(model: SSLModule, x: Tensor) -> Tensor:
        """Return the embedding [batch, projection_dim] of one view."""
        embedding: Tensor = model.heads["projection_head"](model(x))
        return embedding
