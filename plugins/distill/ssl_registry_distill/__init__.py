"""Distillation for ssl-registry: `Distill`, the method, its loss `similarity_loss`, and the frozen `Teacher`."""

from ssl_registry_distill.loss import mix, similarity_loss
from ssl_registry_distill.method import Distill
from ssl_registry_distill.teacher import Teacher

__all__ = ["Distill", "Teacher", "mix", "similarity_loss"]
