"""The plugin's fixtures from this checkout, also where another version of it is installed."""

from ssl_registry.testing.pytest_plugin import isolated_registry, real_digits, tiny_backbone

__all__ = ["isolated_registry", "real_digits", "tiny_backbone"]
