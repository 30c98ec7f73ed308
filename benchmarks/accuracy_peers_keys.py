"""Methods with keys from an average or from a memory, from lightly's modules and losses; for `accuracy.py`."""

from __future__ import annotations

from typing import Any

import torch
from accuracy_peer import Peer, PeerWithTarget, alike
from lightly.loss import NTXentLoss
from lightly.models.modules import (
    MoCoProjectionHead,
    NNCLRPredictionHead,
    NNCLRProjectionHead,
    NNMemoryBankModule,
)
from lightly.models.utils import batch_shuffle, batch_unshuffle
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor

from ssl_registry import SSLModule
from ssl_registry.views import ViewPolicy


class PeerMoCo2(PeerWithTarget):
    """Keys of a memory bank are the negatives; the batch is shuffled for the keys, as in lightly's example."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        size, out = ours.heads["queue"].values.shape
        hidden = ours.config.hidden_dim or ours.feature_dim
        self.add_target(alike(MoCoProjectionHead(ours.feature_dim, hidden, out), ours.heads["projection_head"]))
        self.criterion = NTXentLoss(temperature=ours.config.temperature, memory_bank_size=(size, out))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Move the target, and return the loss of finding its keys."""
        self.move_target(self.settings.momentum)
        first, second = self.views(batch)
        queries = self.projection_head(self.features(first))
        with torch.no_grad():
            shuffled, order = batch_shuffle(second)
            keys = batch_unshuffle(self.forward_momentum(shuffled), order)
        return self.criterion(queries, keys)


class PeerMoCo3(PeerWithTarget):
    """v3 of lightly's parts: it has the heads, and its NT-Xent has the batch's other queries as negatives too."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        hidden = ours.config.hidden_dim
        head, predictor = ours.heads["projection_head"], ours.heads["prediction_head"]
        out = predictor[0].in_features
        self.add_target(alike(MoCoProjectionHead(ours.feature_dim, hidden, out, 3, batch_norm=True), head))
        self.prediction_head = alike(MoCoProjectionHead(out, hidden, out, 2, batch_norm=True), predictor)
        self.criterion = NTXentLoss(temperature=ours.config.temperature)
        self.parts.append(self.prediction_head)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Move the target, and return the loss of finding its keys in both directions."""
        self.move_target(cosine_schedule(self.global_step, self.trainer.max_steps, self.settings.momentum, 1))
        x0, x1 = self.views(batch)
        q0, q1 = (self.prediction_head(self.projection_head(self.features(x))) for x in (x0, x1))
        temperature = self.settings.temperature
        both = self.criterion(q0, self.forward_momentum(x1)) + self.criterion(q1, self.forward_momentum(x0))
        return 2 * temperature * both


class PeerNNCLR(Peer):
    """The nearest neighbor in a memory bank is the positive; its negatives are those of NT-Xent."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        config, out = ours.config, ours.config.projection_dim
        self.projection_head = alike(
            NNCLRProjectionHead(ours.feature_dim, config.hidden_dim, out), ours.heads["projection_head"]
        )
        self.prediction_head = alike(
            NNCLRPredictionHead(out, config.prediction_hidden_dim, out), ours.heads["prediction_head"]
        )
        self.memory_bank = NNMemoryBankModule(size=(config.queue_size, out))
        self.criterion = NTXentLoss(temperature=config.temperature)
        self.parts += [self.projection_head, self.prediction_head]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss."""
        z0, z1 = (self.projection_head(self.features(view)) for view in self.views(batch))
        p0, p1 = self.prediction_head(z0), self.prediction_head(z1)
        z0 = self.memory_bank(z0.detach(), update=False)
        z1 = self.memory_bank(z1.detach(), update=True)
        return 0.5 * (self.criterion(z0, p1) + self.criterion(z1, p0))
