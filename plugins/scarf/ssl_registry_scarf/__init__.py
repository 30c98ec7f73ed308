"""SCARF for ssl-registry: `SCARF`, the method; its corruption is `ssl_registry.nn.Marginals`."""

from ssl_registry_scarf.method import SCARF

__all__ = ["SCARF"]
