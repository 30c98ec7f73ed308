"""argparse for the commands that must answer in a fraction of a second; jsonargparse serves ``train``."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from ssl_registry.errors import SSLRegistryError

__all__ = ["QuickParser"]


class QuickParser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are one line, like every other."""

    def __init__(self, command: str, description: str, **kwargs: Any) -> None:
        super().__init__(prog=f"ssl-registry {command}", description=description, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints."""
        raise SSLRegistryError(f"{message}; see {self.prog} --help")
