"""DIET for ssl-registry: `DIET`, the method."""

from ssl_registry_diet.method import DIET

__all__ = ["DIET"]
