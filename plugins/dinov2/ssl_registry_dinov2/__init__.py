"""DINOv2 for ssl-registry: `DINOv2`, the method."""

from ssl_registry_dinov2.method import DINOv2

__all__ = ["DINOv2"]
