"""I-JEPA for ssl-registry: `IJEPA`, the method, and `latent_loss`, its loss."""

from ssl_registry_ijepa.loss import latent_loss
from ssl_registry_ijepa.method import IJEPA

__all__ = ["IJEPA", "latent_loss"]
