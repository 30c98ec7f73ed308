"""TF-C for ssl-registry: `TFC`, the method; `magnitudes` and `changed_magnitudes`, its view of frequencies."""

from ssl_registry_tfc.method import TFC
from ssl_registry_tfc.spectrum import changed_magnitudes, magnitudes

__all__ = ["TFC", "changed_magnitudes", "magnitudes"]
