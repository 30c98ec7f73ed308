"""DINO for ssl-registry: `DINO`, the method, and the two modules it brings."""

from ssl_registry_dino.heads import Centre, Prototypes
from ssl_registry_dino.method import DINO

__all__ = ["DINO", "Centre", "Prototypes"]
