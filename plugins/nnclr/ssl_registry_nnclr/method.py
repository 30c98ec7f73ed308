"""The method: the positive of a view is the nearest neighbor of another view among past samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import MLP, Queue, info_nce
from ssl_registry.views import ViewPolicy, augmented_view

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class NNCLR:
    """Nearest-neighbor contrastive learning of visual representations (Dwibedi et al., 2021), arXiv:2104.14548.

    Of each view's projection z the nearest neighbor nn(z) in a support set of past projections must find the
    prediction p+ that is made of the other view, among the predictions of all samples in the batch of all ranks
    (section 3.2, equation 4):

        loss = -log( exp(nn(z) . p+ / temperature) / sum over k of exp(nn(z) . p_k / temperature) ),

    averaged over both directions. The support set (``model.heads["queue"]``) begins at random and takes in the first
    view's projections after each optimizer step. It has no gradient, so the projection head learns by the predictions.

    Views are BYOL's, as solo-learn trains NNCLR.

    Heads: ``projection_head``, ``prediction_head``, ``queue``; the first two can be given.
    """

    needs = Needs(batch="256 and more: other samples are negatives", memory="a queue of 98,304 projections")

    class Config(MethodConfig):
        """Options of NNCLR."""

        optimizer: str = Field("lars", min_length=1, description="A timm optimizer name.")
        learning_rate: float = Field(0.3, gt=0, description="Peak learning rate; the paper: 0.3 * batch size / 256.")
        weight_decay: float = Field(1e-6, ge=0, description="Weight decay; biases and norms are excluded.")
        queue_size: int = Field(98304, ge=1, description="Projections in the support set, of all ranks together.")
        temperature: float = Field(0.1, gt=0, description="Softmax temperature.")
        hidden_dim: int = Field(2048, ge=1, description="Width inside the projection head.")
        prediction_hidden_dim: int = Field(4096, ge=1, description="Width inside the prediction head.")
        projection_dim: int = Field(256, ge=1, description="Width of projections and predictions.")
        projection_layers: int = Field(3, ge=1, description="Layers of the projection head.")

    declares = Declares(
        fails={
            "accumulation": "three micro-batches bring three times the projections, as a larger batch does",
        },
        small={
            "queue_size": 40,
            "hidden_dim": 16,
            "prediction_hidden_dim": 16,
            "projection_dim": 8,
            "optimizer": "adamw",
            "learning_rate": 1e-3,
        },
        symmetric=True,
        reference="ssl_registry_nnclr.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build both heads and the support set (section 4.1)."""
        config, out = self.config, self.config.projection_dim

        def projection() -> nn.Module:
            layers = config.projection_layers
            return MLP(feature_dim, config.hidden_dim, out, num_layers=layers, final_batch_norm=True)

        return {
            "projection_head": overrides.take("projection_head", projection),
            "prediction_head": overrides.take("prediction_head", lambda: MLP(out, config.prediction_hidden_dim, out)),
            "queue": Queue(config.queue_size, out),
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two unequal views, as BYOL's."""
        first = augmented_view(image_size, blur=1.0)
        second = augmented_view(image_size, blur=0.1, solarize=0.2)
        return ViewPolicy(views=(first, second), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor]) -> Tensor:
        """Average equation 4 over both directions."""
        z0, z1 = (self.project(model, view) for view in views)
        p0, p1 = (model.heads["prediction_head"](z) for z in (z0, z1))
        queue, temperature = model.heads["queue"], self.config.temperature
        there = info_nce(queue.nearest(z0), p1, temperature=temperature)
        back = info_nce(queue.nearest(z1), p0, temperature=temperature)
        # In float32 at least, as the queue is.
        queue.collect(F.normalize(z0.detach().to(torch.promote_types(z0.dtype, torch.float32)), dim=1))
        return (there + back) / 2

    @hookimpl
    def on_step_end(self, model: SSLModule) -> None:
        """Let this step's projections, of all ranks, into the support set."""
        model.heads["queue"].update()

    @staticmethod
    def project(model: SSLModule, x: Tensor) -> Tensor:
        """Return the projections [batch, projection_dim] of a view."""
        z: Tensor = model.heads["projection_head"](model(x))
        return z
