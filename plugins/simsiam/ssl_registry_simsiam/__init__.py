"""SimSiam for ssl-registry: `SimSiam`, the method; its loss is `ssl_registry.nn.NegativeCosineSimilarity`."""

from ssl_registry_simsiam.method import SimSiam

__all__ = ["SimSiam"]
