"""LeJEPA for ssl-registry: `LeJEPA`, the method, and the two terms of its loss, `sigreg` and `prediction_error`."""

from ssl_registry_lejepa.loss import prediction_error, random_directions, sigreg
from ssl_registry_lejepa.method import LeJEPA

__all__ = ["LeJEPA", "prediction_error", "random_directions", "sigreg"]
