"""The method: two networks, one of which learns to predict the other, an average of its own past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import (
    MLP,
    MomentumTeacher,
    NegativeCosineSimilarity,
    cosine_schedule,
    deactivate_requires_grad,
    update_momentum,
)
from ssl_registry.views import ViewPolicy, augmented_view

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class BYOL:
    """Bootstrap your own latent (Grill et al., 2020), arXiv:2006.07733.

    The online network (backbone, projection head, prediction head) predicts, from one view of a sample, the
    target network's projection of the other view. The target (``model.heads["target"]``: backbone, then
    projection head) is never trained: after each optimizer step its parameters move towards the online ones,

        target <- momentum * target + (1 - momentum) * online,
        momentum = 1 - (1 - momentum_start) * (cos(pi * k / K) + 1) / 2    (section 3.1, appendix J),

    where k counts optimizer steps from 0 and K is the run's length or ``schedule``. As in the authors' code the
    target's BatchNorm uses each batch's statistics, and only parameters are averaged; dropout is off in it.

    Heads: ``projection_head``, ``prediction_head``, ``target``, ``criterion``; each can be replaced by name.
    """

    needs = Needs(batch="64 and more: no negatives", memory="a second backbone and head")

    class Config(MethodConfig):
        """Options of BYOL."""

        optimizer: str = Field("adam", min_length=1, description="A timm optimizer name.")
        weight_decay: float = Field(1e-6, ge=0, description="Weight decay; biases and norms are excluded.")
        hidden_dim: int = Field(4096, ge=1, description="Width inside the projection and prediction heads.")
        projection_dim: int = Field(256, ge=1, description="Width of projections and predictions.")
        momentum: float = Field(0.996, ge=0, le=1, description="The target's momentum at the first step.")
        final_momentum: float = Field(1.0, ge=0, le=1, description="The target's momentum at the schedule's end.")
        schedule: int | None = Field(
            None, ge=1, description="Optimizer steps of the momentum's schedule; default: the whole run."
        )
        period: int | None = Field(
            None, ge=1, description="Let the momentum cycle with this many optimizer steps instead of ending."
        )

    declares = Declares(
        small={"hidden_dim": 32, "projection_dim": 16}, symmetric=True, reference="ssl_registry_byol.reference:loss"
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, backbone: nn.Module, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the heads, and the target as a frozen copy of what the online network projects with."""
        hidden, out = self.config.hidden_dim, self.config.projection_dim
        projection = overrides.take("projection_head", lambda: MLP(feature_dim, hidden, out))
        target = overrides.take("target", lambda: MomentumTeacher(backbone, projection))
        deactivate_requires_grad(target)  # the user's own, too
        return {
            "projection_head": projection,
            "prediction_head": overrides.take("prediction_head", lambda: MLP(out, hidden, out)),
            "target": target,
            "criterion": overrides.take("criterion", NegativeCosineSimilarity),
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two unequal views (appendix B, table 6): always blur and no solarisation, and hardly blur but some."""
        first = augmented_view(image_size, blur=1.0)
        second = augmented_view(image_size, blur=0.1, solarize=0.2)
        return ViewPolicy(views=(first, second), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor]) -> Tensor:
        """Average the loss of predicting each view's target projection from the other view."""
        # One view after the other: concatenated, they would share BatchNorm's statistics.
        p0, p1 = (self.forward(model, view) for view in views)
        z0, z1 = (self.forward_momentum(model, view) for view in views)
        criterion = model.heads["criterion"]
        loss: Tensor = 0.5 * (criterion(p0, z1) + criterion(p1, z0))
        return loss

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the target towards the online network."""
        online = model.backbone, model.heads["projection_head"]
        momentum = self.momentum_at(ctx.step - 1, ctx.max_steps)
        ctx.log("momentum", momentum)
        update_momentum(online, model.heads["target"], momentum)

    def momentum_at(self, step: int, max_steps: int | None) -> float:
        """Return the momentum of optimizer step ``step``, counted from 0; without a known end it stays constant."""
        length = self.config.schedule or max_steps
        return cosine_schedule(
            step, length, self.config.momentum, self.config.final_momentum, period=self.config.period
        )

    @staticmethod
    def forward(model: SSLModule, x: Tensor) -> Tensor:
        """Return the online prediction [batch, projection_dim] of one view."""
        prediction: Tensor = model.heads["prediction_head"](model.heads["projection_head"](model(x)))
        return prediction

    @staticmethod
    @torch.no_grad()
    def forward_momentum(model: SSLModule, x: Tensor) -> Tensor:
        """Return the target projection [batch, projection_dim] of one view, without gradient."""
        projection: Tensor = model.heads["target"](x)
        return projection
