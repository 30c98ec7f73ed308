"""Errors a user can act on: each states the fact, what is available, and what mends it.

The command line prints them in one line and exits with code 2; anything else is a bug and shows a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BackboneError",
    "BatchError",
    "CheckpointError",
    "ConfigError",
    "ContractError",
    "DataError",
    "ExportError",
    "FeaturesNotFiniteError",
    "MethodNotFoundError",
    "MissingExtraError",
    "PluginError",
    "RunError",
    "SSLRegistryError",
    "TrustError",
    "did_you_mean",
]


class SSLRegistryError(Exception):
    """Base of every error that a user, not a programmer, can mend."""


class MethodNotFoundError(SSLRegistryError, LookupError):
    """No installed or registered method has this name, or several distributions claim it."""


class PluginError(SSLRegistryError):
    """An installed plugin cannot be used: it fails to import, is blocked, or needs another core."""


class ContractError(SSLRegistryError):
    """A method's class breaks the hook contract."""


class ConfigError(SSLRegistryError, ValueError):
    """An option is unknown, has the wrong type, or is out of range."""


class BackboneError(SSLRegistryError, ValueError):
    """A backbone's name is unknown, or its output cannot become a feature vector."""


class BatchError(SSLRegistryError, TypeError):
    """A batch has none of the accepted forms."""


class DataError(SSLRegistryError, ValueError):
    """A source of samples cannot be read or used."""


class FeaturesNotFiniteError(DataError):
    """Features hold NaN or infinity: what measures them has no figures, and the training has probably diverged."""


class ExportError(SSLRegistryError):
    """A backbone cannot be written in a form, or does not come back as it was."""


class MissingExtraError(SSLRegistryError, ImportError):
    """A library that one feature alone needs is not installed."""


class CheckpointError(SSLRegistryError):
    """A checkpoint cannot be reopened, or cannot be written."""


class RunError(SSLRegistryError):
    """A run's folder can no longer be written."""


class TrustError(SSLRegistryError):
    """A file says something that would run, import or fetch something, and nobody said that it may."""


def did_you_mean(wrong: str, known: Iterable[str], *, most: int = 3) -> str:
    """Return ``" Did you mean 'x' or 'y'?"``, or an empty string when nothing is near.

    >>> did_you_mean("simclrr", ["byol", "simclr"])
    " Did you mean 'simclr'?"
    """
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(wrong.lower(), lowered, n=most, cutoff=0.6)
    if not near:
        return ""
    return " Did you mean " + " or ".join(repr(lowered[name]) for name in near) + "?"
