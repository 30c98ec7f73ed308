"""iBOT for ssl-registry: `IBOT`, the method."""

from ssl_registry_ibot.method import IBOT

__all__ = ["IBOT"]
