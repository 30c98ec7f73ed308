"""Barlow Twins for ssl-registry: `BarlowTwins`, the method, and `BarlowTwinsLoss`, its loss."""

from ssl_registry_barlow_twins.loss import BarlowTwinsLoss
from ssl_registry_barlow_twins.method import BarlowTwins

__all__ = ["BarlowTwins", "BarlowTwinsLoss"]
