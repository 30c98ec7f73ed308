"""Contrastive predictive coding for ssl-registry: `CPC`, the method; `future_info_nce`, its loss."""

from ssl_registry_cpc.loss import future_info_nce
from ssl_registry_cpc.method import CPC

__all__ = ["CPC", "future_info_nce"]
