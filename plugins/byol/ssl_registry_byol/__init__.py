"""BYOL for ssl-registry: `BYOL`, the method, and `NegativeCosineSimilarity`, its loss."""

from ssl_registry.nn import NegativeCosineSimilarity
from ssl_registry_byol.method import BYOL

__all__ = ["BYOL", "NegativeCosineSimilarity"]
