"""SimCLR for ssl-registry: `SimCLR`, the method; `NTXentLoss`, its loss; `contrastive_loss`, for queues and labels."""

from ssl_registry_simclr.contrast import contrastive_loss
from ssl_registry_simclr.loss import NTXentLoss
from ssl_registry_simclr.method import SimCLR

__all__ = ["NTXentLoss", "SimCLR", "contrastive_loss"]
