"""Masked autoencoders for ssl-registry: `MAE`, the method, and `reconstruction_loss`, its loss."""

from ssl_registry_mae.loss import reconstruction_loss
from ssl_registry_mae.method import MAE

__all__ = ["MAE", "reconstruction_loss"]
