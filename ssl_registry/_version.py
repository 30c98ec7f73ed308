"""The version of this distribution, apart from everything that is imported."""

__version__ = "0.1.0"
