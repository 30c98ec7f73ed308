"""VIME for ssl-registry: `VIME`, the method; its corruption is `ssl_registry.nn.Marginals`."""

from ssl_registry_vime.method import VIME

__all__ = ["VIME"]
