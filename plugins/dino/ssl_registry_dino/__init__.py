"""DINO for ssl-registry: `DINO`, the method."""

from ssl_registry_dino.method import DINO

__all__ = ["DINO"]
