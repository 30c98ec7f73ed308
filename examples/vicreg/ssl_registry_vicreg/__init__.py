"""VICReg for ssl-registry: two views alike, every dimension alive, no two dimensions saying the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Field, MethodConfig, Overrides, SSLModule, hookimpl
from ssl_registry.nn import MLP
from ssl_registry.views import ViewPolicy, augmented_view

__all__ = ["VICReg", "covariance", "variance"]


def variance(z: Tensor) -> Tensor:
    """Mean over dimensions of how far the standard deviation is below 1 (equation 1).

    Args:
        z: embeddings [batch, dim].
    """
    return F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()


def covariance(z: Tensor) -> Tensor:
    """Sum of the squared covariances of different dimensions, divided by their number (equation 4).

    Args:
        z: embeddings [batch, dim].
    """
    z = z - z.mean(dim=0)
    cov = z.T @ z / (len(z) - 1)
    return (cov.square().sum() - cov.diagonal().square().sum()) / z.shape[1]


class VICReg:
    """Variance-invariance-covariance regularization (Bardes et al., 2022), arXiv:2105.04906.

    With z and z' the embeddings of two views of the batch (equation 6),

        loss = invariance * mse(z, z') + variance * [v(z) + v(z')] + covariance * [c(z) + c(z')].

    Variance and covariance are those of the samples of all ranks. Heads: ``projection_head`` (the paper's expander).
    """

    class Config(MethodConfig):
        """Options of VICReg."""

        optimizer: str = Field("lars", min_length=1, description="A timm optimizer name.")
        learning_rate: float = Field(0.2, gt=0, description="The paper: 0.2 * batch size / 256.")
        weight_decay: float = Field(1e-6, ge=0, description="Weight decay; biases and norms are excluded.")
        projection_dim: int = Field(8192, ge=1, description="Width of all three layers of the expander.")
        invariance: float = Field(25.0, ge=0, description="Weight of the distance between the views.")
        variance: float = Field(25.0, ge=0, description="Weight of keeping every dimension alive.")
        covariance: float = Field(1.0, ge=0, description="Weight of decorrelating the dimensions.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the expander: three layers of one width (section 4.2)."""
        dim = self.config.projection_dim
        return {"projection_head": overrides.take("projection_head", lambda: MLP(feature_dim, dim, dim, num_layers=3))}

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two views alike (appendix C.1): crop, flip, colour, grey, solarisation, and blur where it shows."""
        view = augmented_view(image_size, blur=0.5, solarize=0.1, copies=2)
        return ViewPolicy(views=(view,), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> dict[str, Tensor]:
        """Compute the three terms; the last two look across the whole batch, of all ranks."""
        # Squares and sums over thousands of samples overflow in half precision.
        a, b = (model.heads["projection_head"](model(view)).float() for view in views)
        with torch.autocast(a.device.type, enabled=False):
            invariance = F.mse_loss(a, b)
            both = [ctx.gather(a), ctx.gather(b)]
            alive = sum((variance(z) for z in both), a.new_zeros(()))
            apart = sum((covariance(z) for z in both), a.new_zeros(()))
            weights = self.config
            loss = weights.invariance * invariance + weights.variance * alive + weights.covariance * apart
        return {"loss": loss, "invariance": invariance, "variance": alive, "covariance": apart}
