"""SimCLR for ssl-registry: `SimCLR`, the method, and `NTXentLoss`, its loss."""

from ssl_registry_simclr.loss import NTXentLoss
from ssl_registry_simclr.method import SimCLR

__all__ = ["NTXentLoss", "SimCLR"]
