"""SimMIM for ssl-registry: `SimMIM`, the method, and `masked_l1`, its loss."""

from ssl_registry_simmim.loss import masked_l1
from ssl_registry_simmim.method import SimMIM

__all__ = ["SimMIM", "masked_l1"]
