"""MoCo v2 and v3 for ssl-registry: `MoCo`, the method, and `KeyQueue`, its memory."""

from ssl_registry_moco.method import MoCo
from ssl_registry_moco.queue import KeyQueue

__all__ = ["KeyQueue", "MoCo"]
