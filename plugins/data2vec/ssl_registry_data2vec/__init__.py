"""data2vec for ssl-registry: `Data2Vec`, the method, and `averaged_target`, what it predicts."""

from ssl_registry_data2vec.method import Data2Vec
from ssl_registry_data2vec.target import averaged_target

__all__ = ["Data2Vec", "averaged_target"]
