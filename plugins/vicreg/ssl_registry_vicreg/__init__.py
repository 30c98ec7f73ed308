"""VICReg for ssl-registry: `VICReg`, the method; `VICRegLoss`, its loss, and the terms `variance` and `covariance`."""

from ssl_registry_vicreg.loss import VICRegLoss, covariance, variance
from ssl_registry_vicreg.method import VICReg

__all__ = ["VICReg", "VICRegLoss", "covariance", "variance"]
