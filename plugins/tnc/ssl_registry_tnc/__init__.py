"""Temporal neighborhood coding for ssl-registry: `TNC`, the method; `neighborhood_loss`, its loss."""

from ssl_registry_tnc.loss import neighborhood_loss
from ssl_registry_tnc.method import TNC

__all__ = ["TNC", "neighborhood_loss"]
