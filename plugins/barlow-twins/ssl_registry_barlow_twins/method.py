"""The method: each dimension of the embedding agrees between two views, and with no other dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ssl_registry import Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import MLP
from ssl_registry.views import ViewPolicy, augmented_view
from ssl_registry_barlow_twins.loss import BarlowTwinsLoss

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class BarlowTwins:
    """Self-supervised learning via redundancy reduction (Zbontar et al., 2021), arXiv:2103.03230.

    The cross-correlation matrix of the projections of two views, over the batch of all ranks, is to be the identity:
    ones on the diagonal make each dimension agree between the views, zeros off it make the dimensions differ
    (equation 1). There are no negatives, no second network and no stop of the gradient. The projection is wide: three
    layers of 8192 (section 2.2), whose last has no bias, since the loss subtracts the mean.

    The paper trains with LARS, with a learning rate of 0.2 * batch size / 256 for weights and 0.0048 for biases and
    norms. A loss times 0.0048 / 0.2 = 0.024 is the same: LARS scales the step of a weight by its gradient's norm, and
    leaves biases and norms alone. The authors' command for their published network has this factor in the loss, and so
    has ``loss_scale``. Adam does not see it; with plain SGD it is a factor of the learning rate, so give 1 there.

    Heads: ``projection_head``, which can be replaced by name.
    """

    needs = Needs(
        batch="128 to 2,048: statistics of the batch", memory="one network; a matrix of projection_dim squared at most"
    )

    class Config(MethodConfig):
        """Options of Barlow Twins."""

        optimizer: str = Field("lars", min_length=1, description="A timm optimizer name.")
        learning_rate: float = Field(0.2, gt=0, description="Peak learning rate; the paper: 0.2 * batch size / 256.")
        weight_decay: float = Field(1e-6, ge=0, description="Weight decay; biases and norms are excluded.")
        projection_dim: int = Field(8192, ge=1, description="Width of all layers of the projection head.")
        projection_layers: int = Field(3, ge=1, description="Number of linear layers of the projection head.")
        lambd: float = Field(0.0051, ge=0, description="Weight of the correlations between different dimensions.")
        loss_scale: float = Field(
            0.024, gt=0, description="Factor of the loss; with LARS, of the learning rate of biases and norms."
        )

    declares = Declares(
        small={"projection_dim": 16}, symmetric=True, reference="ssl_registry_barlow_twins.reference:loss"
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the projection head, layers of one width."""
        width, layers = self.config.projection_dim, self.config.projection_layers
        return {
            "projection_head": overrides.take(
                "projection_head", lambda: MLP(feature_dim, width, width, num_layers=layers, final_bias=False)
            )
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two unequal views, those of BYOL (section 2.2): always blur, and hardly blur but some solarization."""
        first = augmented_view(image_size, blur=1.0)
        second = augmented_view(image_size, blur=0.1, solarize=0.2)
        return ViewPolicy(views=(first, second), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor]) -> dict[str, Tensor]:
        """Compute both terms, and the loss from them."""
        # One view after the other: concatenated, they would share BatchNorm's statistics.
        z0, z1 = (self.forward(model, view) for view in views)
        config = self.config
        invariance, redundancy = BarlowTwinsLoss(config.lambd).terms(z0, z1)
        loss = config.loss_scale * (invariance + config.lambd * redundancy)
        return {"loss": loss, "invariance": invariance, "redundancy": redundancy}

    @staticmethod
    def forward(model: SSLModule, x: Tensor) -> Tensor:
        """Return the projection [batch, projection_dim] of one view."""
        projection: Tensor = model.heads["projection_head"](model(x))
        return projection
