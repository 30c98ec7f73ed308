"""TS2Vec for ssl-registry: `TS2Vec`, the method; `hierarchical_contrast`, its loss."""

from ssl_registry_ts2vec.loss import hierarchical_contrast
from ssl_registry_ts2vec.method import TS2Vec

__all__ = ["TS2Vec", "hierarchical_contrast"]
