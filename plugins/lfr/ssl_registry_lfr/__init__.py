"""LFR for ssl-registry: `LFR`, the method, and `BatchWiseBarlowTwinsLoss`, its loss."""

from ssl_registry_lfr.loss import BatchWiseBarlowTwinsLoss
from ssl_registry_lfr.method import LFR

__all__ = ["LFR", "BatchWiseBarlowTwinsLoss"]
