"""argparse for the commands that must answer in a fraction of a second; jsonargparse serves ``train``."""

from __future__ import annotations

import argparse
import itertools
from typing import Any, NoReturn

from ssl_registry.data.sources import SOURCES
from ssl_registry.errors import SSLRegistryError
from ssl_registry.run_options import RunOptions

__all__ = ["DEVICES", "QuickParser", "add_data_arguments", "add_trust", "data_arguments", "data_help"]


DEVICES = "such as cuda:0,cuda:1: batches are shared out among them (default: all GPUs, or the CPU)"


class QuickParser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are one line, like every other."""

    def __init__(self, command: str, description: str, **kwargs: Any) -> None:
        super().__init__(prog=f"ssl-registry {command}", description=description, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse, and refuse an empty ``--out``: a shell's variable that is not set is not the current folder."""
        words = list(args or [])
        if "--out=" in words or ("--out", "") in itertools.pairwise(words):
            self.error("--out is empty; give a path")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints."""
        raise SSLRegistryError(f"{message}; see {self.prog} --help")


def data_help() -> str:
    """Return the help of ``--data``: every kind of source, those of plugins by their metadata."""
    return f"where samples come from: {SOURCES.describe()}".replace("%", "%%")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `data_arguments` reads: a source, where it differs from the run's, and how it is loaded."""
    add = parser.add_argument_group("data (default: as the run)").add_argument
    add("--data", help=data_help())
    add("--data-root", help="where torchvision's data sets lie")
    add("--modality", help="image, signal or table, where an array leaves it open")
    add("--image-size", type=int, help="side of the images in pixels")
    add("--batch-size", type=int, default=256, help="samples a batch (default: 256)")
    add("--workers", type=int, help="processes that load samples")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust``, for a command that reads a run or a checkpoint."""
    parser.add_argument("--trust", action="store_true", help=RunOptions.model_fields["trust"].description)


def data_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of Python's verbs that `add_data_arguments` parsed."""
    names = ("data", "data_root", "modality", "image_size", "batch_size", "workers")
    return {name: getattr(options, name) for name in names}
