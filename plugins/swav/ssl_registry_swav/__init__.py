"""SwAV for ssl-registry: `SwAV`, the method."""

from ssl_registry_swav.method import SwAV

__all__ = ["SwAV"]
