"""What all of lightly's methods share when `accuracy.py` trains them."""

from __future__ import annotations

import copy
from typing import Any

from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from ssl_registry import SSLModule
from ssl_registry.views import ViewPolicy

OPTIMIZERS = {"momentum": SGD, "adamw": AdamW}


class Peer(LightningModule):
    """A copy of our backbone, the optimizer that ours has, and batches of views.

    Args:
        ours: whose initial weights and settings are taken.
        shared: draws the views of our data module's batches; None where the batches hold lightly's.
    """

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__()
        self.settings, self.shared = ours.config, shared
        self.backbone = copy.deepcopy(ours.backbone)
        self.parts: list[nn.Module] = [self.backbone]  # what trains

    @property
    def product(self) -> nn.Module:
        """What is judged."""
        return self.backbone

    def views(self, batch: Any) -> list[Tensor]:
        """Return all views of a batch."""
        return batch[0] if self.shared is None else self.shared.views_of(batch)

    def features(self, x: Tensor) -> Tensor:
        """Return the backbone's features of a view."""
        return self.backbone(x).flatten(start_dim=1)

    def configure_optimizers(self) -> Any:
        """Build the optimizer over all parameters, biases and norms too, and a cosine over the steps."""
        parameters = [parameter for part in self.parts for parameter in part.parameters()]
        settings = self.settings
        optimizer = OPTIMIZERS[settings.optimizer](
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, **settings.optimizer_kwargs
        )
        schedule = CosineAnnealingLR(optimizer, self.trainer.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class PeerWithTarget(Peer):
    """A peer with moving averages of its backbone and of its projection head, which move at the beginning of a step."""

    def add_target(self, projection_head: nn.Module, copied: nn.Module | None = None) -> None:
        """Take the head and the target's, by default a copy, and copy the backbone."""
        self.projection_head = projection_head
        self.parts.append(projection_head)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copied or copy.deepcopy(projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)

    def move_target(self, momentum: float) -> None:
        """Let both averages follow."""
        update_momentum(self.backbone, self.backbone_momentum, m=momentum)
        update_momentum(self.projection_head, self.projection_head_momentum, m=momentum)

    def forward_momentum(self, x: Tensor) -> Tensor:
        """Project a view with the target."""
        return self.projection_head_momentum(self.backbone_momentum(x).flatten(start_dim=1)).detach()


def alike(theirs: nn.Module, ours: nn.Module) -> nn.Module:
    """Start a head of lightly's from the weights of ours, as far as both have them.

    SimCLR's has a BatchNorm at its end whose shift is learned, DINO's has no biases in front of a BatchNorm.
    """
    theirs.layers.load_state_dict(ours.state_dict(), strict=False)
    return theirs
