"""Methods on two views from lightly's modules and losses, composed as its examples do; for `accuracy.py`."""

from __future__ import annotations

from typing import Any

from accuracy_peer import Peer, PeerWithTarget, alike
from lightly.loss import (
    BarlowTwinsLoss,
    DCLLoss,
    DCLWLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    VICRegLoss,
)
from lightly.models.modules import (
    BarlowTwinsProjectionHead,
    BYOLPredictionHead,
    BYOLProjectionHead,
    SimCLRProjectionHead,
    SimSiamPredictionHead,
    SimSiamProjectionHead,
)
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor

from ssl_registry import SSLModule
from ssl_registry.views import ViewPolicy


class PeerBYOL(PeerWithTarget):
    """Predicting the target's projection of the other view."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        hidden, out = ours.config.hidden_dim, ours.config.projection_dim
        self.add_target(alike(BYOLProjectionHead(ours.feature_dim, hidden, out), ours.heads["projection_head"]))
        self.prediction_head = alike(BYOLPredictionHead(out, hidden, out), ours.heads["prediction_head"])
        self.criterion = NegativeCosineSimilarity()
        self.parts.append(self.prediction_head)

    def forward(self, x: Tensor) -> Tensor:
        """Predict from a view."""
        return self.prediction_head(self.projection_head(self.features(x)))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Move the target, and return the loss of predicting it."""
        self.move_target(self.settings.momentum)
        x0, x1 = self.views(batch)
        p0, z0 = self.forward(x0), self.forward_momentum(x0)
        p1, z1 = self.forward(x1), self.forward_momentum(x1)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))


class PeerSimSiam(Peer):
    """Predicting the projection of the other view; the predictor's learning rate falls with the others."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        hidden, out, narrow = ours.config.hidden_dim, ours.config.projection_dim, ours.config.bottleneck_dim
        self.projection_head = alike(
            SimSiamProjectionHead(ours.feature_dim, hidden, out), ours.heads["projection_head"]
        )
        self.prediction_head = alike(SimSiamPredictionHead(out, narrow, out), ours.heads["prediction_head"])
        self.criterion = NegativeCosineSimilarity()
        self.parts += [self.projection_head, self.prediction_head]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss."""
        z0, z1 = (self.projection_head(self.features(view)) for view in self.views(batch))
        p0, p1 = self.prediction_head(z0), self.prediction_head(z1)
        return 0.5 * (self.criterion(z0.detach(), p1) + self.criterion(z1.detach(), p0))


class PeerOfOneHead(Peer):
    """A loss of the projections of both views."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss."""
        z0, z1 = (self.projection_head(self.features(view)) for view in self.views(batch))
        return self.criterion(z0, z1)


class PeerSimCLR(PeerOfOneHead):
    """NT-Xent over both views of a batch, or one of the decoupled losses."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        config = ours.config
        head = SimCLRProjectionHead(ours.feature_dim, config.hidden_dim or ours.feature_dim, config.projection_dim)
        self.projection_head = alike(head, ours.heads["projection_head"])
        losses = {"ntxent": NTXentLoss, "dcl": DCLLoss, "dclw": DCLWLoss}
        self.criterion = losses[config.loss](temperature=config.temperature)
        self.parts.append(self.projection_head)


class PeerBarlowTwins(PeerOfOneHead):
    """The cross-correlation of both views is to be the identity."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        width = ours.config.projection_dim
        head = BarlowTwinsProjectionHead(ours.feature_dim, width, width)
        self.projection_head = alike(head, ours.heads["projection_head"])
        self.criterion = BarlowTwinsLoss(lambda_param=ours.config.lambd)
        self.parts.append(self.projection_head)


class PeerVICReg(PeerOfOneHead):
    """Variance, invariance and covariance; lightly's variance is the mean of both views, and ours their sum."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        config = ours.config
        head = VICRegProjectionHead(ours.feature_dim, config.projection_dim, config.projection_dim)
        self.projection_head = alike(head, ours.heads["projection_head"])
        self.criterion = VICRegLoss(
            lambda_param=config.invariance, mu_param=2 * config.variance, nu_param=config.covariance
        )
        self.parts.append(self.projection_head)
