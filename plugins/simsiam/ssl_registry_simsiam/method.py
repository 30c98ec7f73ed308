"""The method: one network predicts its own view of the other image, whose gradient is stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ssl_registry import Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import MLP, NegativeCosineSimilarity
from ssl_registry.views import ViewPolicy, augmented_view

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule

# Parameter groups of the predictor, whose learning rate does not follow the schedule.
PREDICTOR = "predictor_decay", "predictor_no_decay"


class SimSiam:
    """Exploring simple Siamese representation learning (Chen and He, 2021), arXiv:2011.10566.

    With z the projections of two views and p = h(z) their predictions (equation 2),

        loss = 1/2 D(p_0, stop(z_1)) + 1/2 D(p_1, stop(z_0)),    D the negative cosine similarity.

    Nothing else keeps the network from collapsing: no negatives, no average of the weights. The predictor h is a
    bottleneck, and its learning rate stays where it is while the others follow the schedule: the paper has 68.1 %
    instead of 67.7 (table 1, row c), since h should keep up with the latest projections.

    The last BatchNorm of the projection has no scale and no shift, as in the authors' code.

    Heads: ``projection_head``, ``prediction_head``, ``criterion``; each can be replaced by name.
    """

    needs = Needs(batch="64 and more: no negatives", memory="one network")

    class Config(MethodConfig):
        """Options of SimSiam."""

        optimizer: str = Field("momentum", min_length=1, description="A timm optimizer name; momentum is SGD's.")
        optimizer_kwargs: dict[str, Any] = Field(
            default_factory=lambda: {"momentum": 0.9}, description="Further optimizer arguments."
        )
        learning_rate: float = Field(0.05, gt=0, description="Peak learning rate; the paper: 0.05 * batch size / 256.")
        weight_decay: float = Field(1e-4, ge=0, description="Weight decay; biases and norms are excluded.")
        hidden_dim: int = Field(2048, ge=1, description="Width inside the projection head.")
        projection_dim: int = Field(2048, ge=1, description="Width of projections and predictions.")
        projection_layers: int = Field(3, ge=1, description="Number of linear layers of the projection head.")
        bottleneck_dim: int = Field(512, ge=1, description="Width inside the prediction head.")
        fix_predictor_lr: bool = Field(
            True, description="Keep the predictor at the peak learning rate, whatever schedule and warm-up do."
        )

    declares = Declares(
        small={"hidden_dim": 32, "projection_dim": 32, "bottleneck_dim": 16},
        symmetric=True,
        stopped={
            "backbone": "each view's features make a prediction, and the target of the other view's (equation 2)",
            "projection_head": "each view's projection is the target of the other's prediction (equation 2)",
        },
        reference="ssl_registry_simsiam.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build projection head and predictor (section 3, baseline settings)."""
        config = self.config
        return {
            "projection_head": overrides.take(
                "projection_head",
                lambda: MLP(
                    *(feature_dim, config.hidden_dim, config.projection_dim),
                    num_layers=config.projection_layers,
                    final_batch_norm=True,
                    final_affine=False,
                ),
            ),
            "prediction_head": overrides.take(
                "prediction_head", lambda: MLP(config.projection_dim, config.bottleneck_dim, config.projection_dim)
            ),
            "criterion": overrides.take("criterion", NegativeCosineSimilarity),
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two views alike (appendix A): larger crops than SimCLR's, and weaker colors."""
        view = augmented_view(image_size, crop_scale=(0.2, 1.0), saturation=0.4, blur=0.5, copies=2)
        return ViewPolicy(views=(view,), image_size=image_size)

    @hookimpl
    def param_groups(self, model: SSLModule) -> list[dict[str, Any]] | None:
        """Keep the predictor apart."""
        if not self.config.fix_predictor_lr:
            return None
        predictor = model.heads["prediction_head"]
        others = [part for name, part in model.heads.items() if name != "prediction_head"]
        own = {group["name"]: group for group in model.default_param_groups(predictor, prefix="predictor_")}
        # A predictor of the user's may have no parameters of one kind; `optimizer_values` names both.
        groups = [own.get(name, {"params": [], "name": name}) for name in PREDICTOR]
        return model.default_param_groups(model.backbone, *others) + groups

    @hookimpl
    def optimizer_values(self) -> Mapping[str, Mapping[str, float]]:
        """Set the predictor's learning rate to the peak, after the schedule has set all."""
        if not self.config.fix_predictor_lr:
            return {}
        return {name: {"lr": self.config.learning_rate} for name in PREDICTOR}

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor]) -> Tensor:
        """Average the loss of predicting each view's projection from the other view."""
        # One view after the other: concatenated, they would share BatchNorm's statistics.
        z0, z1 = (self.forward(model, view) for view in views)
        p0, p1 = (model.heads["prediction_head"](z) for z in (z0, z1))
        criterion = model.heads["criterion"]
        loss: Tensor = 0.5 * (criterion(p0, z1.detach()) + criterion(p1, z0.detach()))
        return loss

    @staticmethod
    def forward(model: SSLModule, x: Tensor) -> Tensor:
        """Return the projection [batch, projection_dim] of one view."""
        projection: Tensor = model.heads["projection_head"](model(x))
        return projection
