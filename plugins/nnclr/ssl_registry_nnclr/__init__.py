"""NNCLR for ssl-registry: `NNCLR`, the method."""

from ssl_registry_nnclr.method import NNCLR

__all__ = ["NNCLR"]
