"""Methods on crops of two sizes from lightly's modules and losses, composed as its examples do; for `accuracy.py`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from accuracy_peer import Peer, PeerWithTarget, alike
from lightly.loss import DINOLoss, SwaVLoss
from lightly.loss.lejepa_loss import LeJEPALoss
from lightly.models.modules import DINOProjectionHead, SwaVProjectionHead, SwaVPrototypes
from torch import Tensor, nn

from ssl_registry import SSLModule
from ssl_registry.views import ViewPolicy

GLOBAL_VIEWS = 2


class PeerDINO(PeerWithTarget):
    """A teacher sees the large views alone; each view passes by itself, as in lightly's example."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        config = ours.config
        widths = ours.feature_dim, config.hidden_dim, config.bottleneck_dim, config.prototypes
        # Old weight_norm cannot be copied, so the teacher's head is built for itself.
        head, copied = (
            DINOProjectionHead(*widths, batch_norm=config.batch_norm, freeze_last_layer=config.frozen_epochs)
            for _ in range(2)
        )
        alike(head, ours.heads["projection_head"])
        with torch.no_grad():
            head.last_layer.weight_v.copy_(ours.heads["last_layer"].weight)
        copied.load_state_dict(head.state_dict())
        self.add_target(head, copied)
        self.criterion = DINOLoss(
            output_dim=config.prototypes,
            warmup_teacher_temp=config.warmup_teacher_temperature,
            teacher_temp=config.teacher_temperature,
            warmup_teacher_temp_epochs=config.warmup_teacher_epochs,
            student_temp=config.temperature,
            center_momentum=config.center_momentum,
        )

    @property
    def product(self) -> nn.Module:
        """The teacher's backbone, as for ours."""
        return self.backbone_momentum

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Move the teacher, and return the loss of matching it."""
        self.move_target(self.settings.momentum)
        views = self.views(batch)
        wanted = [self.forward_momentum(view) for view in views[:GLOBAL_VIEWS]]
        given = [self.projection_head(self.features(view)) for view in views]
        return self.criterion(wanted, given, epoch=self.current_epoch)

    def on_after_backward(self) -> None:
        """Let the last layer rest in the first epochs."""
        self.projection_head.cancel_last_layer_gradients(current_epoch=self.current_epoch)


class PeerSwAV(Peer):
    """Codes of the large views are predicted from all others."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        config = ours.config
        self.projection_head = alike(
            SwaVProjectionHead(ours.feature_dim, config.hidden_dim, config.projection_dim),
            ours.heads["projection_head"],
        )
        self.prototypes = SwaVPrototypes(config.projection_dim, config.prototypes)
        with torch.no_grad():
            self.prototypes.heads[0].weight.copy_(ours.heads["prototypes"].weight)
        self.criterion = SwaVLoss(
            temperature=config.temperature,
            sinkhorn_iterations=config.sinkhorn_iterations,
            sinkhorn_epsilon=config.epsilon,
        )
        self.parts += [self.projection_head, self.prototypes]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Bring the prototypes back to length 1, and return the loss."""
        self.prototypes.normalize()
        scores = [self.prototypes(self._project(view)) for view in self.views(batch)]
        return self.criterion(scores[:GLOBAL_VIEWS], scores[GLOBAL_VIEWS:])

    def _project(self, view: Tensor) -> Tensor:
        return nn.functional.normalize(self.projection_head(self.features(view)), dim=1, p=2)


class PeerLeJEPA(Peer):
    """SIGReg and the distance from the center of the large views; the head is ours, of which lightly has none."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        config = ours.config
        self.projection_head = copy.deepcopy(ours.heads["projection_head"])
        self.criterion = LeJEPALoss(
            lambda_param=config.lambd,
            sigreg_knots=config.knots,
            sigreg_t_max=config.t_max,
            sigreg_num_vectors=config.directions,
        )
        self.parts.append(self.projection_head)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss."""
        z = torch.stack([self.projection_head(self.features(view)) for view in self.views(batch)])
        return self.criterion(local_proj=z[GLOBAL_VIEWS:], global_proj=z[:GLOBAL_VIEWS])
