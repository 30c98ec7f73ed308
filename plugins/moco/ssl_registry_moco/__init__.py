"""MoCo v2 and v3 for ssl-registry: `MoCo`, the method."""

from ssl_registry_moco.method import MoCo

__all__ = ["MoCo"]
