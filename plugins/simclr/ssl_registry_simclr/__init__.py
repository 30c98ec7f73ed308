"""SimCLR for ssl-registry: `SimCLR`, its losses `NTXentLoss` and `DCLLoss`, and `contrastive_loss`, by labels."""

from ssl_registry_simclr.contrast import contrastive_loss
from ssl_registry_simclr.loss import DCLLoss, NTXentLoss
from ssl_registry_simclr.method import SimCLR

__all__ = ["DCLLoss", "NTXentLoss", "SimCLR", "contrastive_loss"]
