"""The method: two views of a sample attract, all other samples of the batch repel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from ssl_registry import Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import MLP
from ssl_registry.views import ViewPolicy, augmented_view
from ssl_registry_simclr.loss import DCLLoss, NTXentLoss

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class SimCLR:
    """A simple framework for contrastive learning (Chen et al., 2020), arXiv:2002.05709.

    Each of the 2N views in the batch, over all ranks, must find the other view of its sample among the 2N - 1
    others (NT-Xent, equation 1). The projection head (section 4.2) is thrown away after training; it ends with a
    BatchNorm, as in the authors' code (google-research/simclr, tf2/model.py), here with a learned shift.

    The default optimizer is LARS with momentum 0.9, which leaves biases and norms unscaled (appendix B.6). The paper's
    learning rate is ``0.3 * batch_size / 256``.

    ``loss`` takes the decoupled losses in place of NT-Xent (Yeh et al., 2022, arXiv:2110.06848): DCL leaves the
    positive pair out of the denominator, and DCLW counts pairs less that agree already.

    Heads: ``projection_head``, ``criterion``; each can be replaced by name.
    """

    needs = Needs(batch="256 and more: other samples are negatives", memory="one network")

    class Config(MethodConfig):
        """Options of SimCLR."""

        learning_rate: float = Field(0.3, gt=0, description="Peak learning rate; the paper: 0.3 * batch size / 256.")
        weight_decay: float = Field(1e-6, ge=0, description="Weight decay; biases and norms are excluded.")
        optimizer: str = Field("lars", min_length=1, description="A timm optimizer name.")
        loss: Literal["ntxent", "dcl", "dclw"] = Field(
            "ntxent",
            description="NT-Xent, or a decoupled loss: without the positive in the denominator, or weighted too.",
        )
        temperature: float = Field(0.5, gt=0, description="Softmax temperature of the loss; DCL's paper takes 0.1.")
        sigma: float = Field(0.5, gt=0, description="Of the weights of dclw alone: how fast they fall with agreement.")
        hidden_dim: int | None = Field(None, ge=1, description="Width inside the head; default: the backbone's.")
        projection_dim: int = Field(128, ge=1, description="Width of the projections.")
        jitter_strength: float = Field(
            1.0, ge=0, le=1.25, description="Strength of colour distortion (appendix A); 0.5 for CIFAR-10."
        )

    declares = Declares(small={"projection_dim": 16}, symmetric=True, reference="ssl_registry_simclr.reference:loss")

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the two-layer projection head and the loss."""
        widths = feature_dim, self.config.hidden_dim or feature_dim, self.config.projection_dim
        return {
            "projection_head": overrides.take("projection_head", lambda: MLP(*widths, final_batch_norm=True)),
            "criterion": overrides.take("criterion", self._loss),
        }

    def _loss(self) -> nn.Module:
        config = self.config
        if config.loss == "ntxent":
            return NTXentLoss(config.temperature)
        return DCLLoss(config.temperature, sigma=config.sigma if config.loss == "dclw" else None)

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two views alike (appendix A): crop, flip, colour, grey, and blur where there is something to blur."""
        strength = self.config.jitter_strength
        view = augmented_view(
            image_size,
            blur=0.5,
            brightness=0.8 * strength,
            contrast=0.8 * strength,
            saturation=0.8 * strength,
            hue=min(0.5, 0.2 * strength),
            copies=2,
        )
        return ViewPolicy(views=(view,), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor]) -> Tensor:
        """Compute the loss over the projections of both views."""
        z0, z1 = (self.forward(model, view) for view in views)
        loss: Tensor = model.heads["criterion"](z0, z1)
        return loss

    @staticmethod
    def forward(model: SSLModule, x: Tensor) -> Tensor:
        """Return the projection [batch, projection_dim] of one view."""
        projection: Tensor = model.heads["projection_head"](model(x))
        return projection
