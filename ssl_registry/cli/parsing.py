"""argparse for the commands that must answer in a fraction of a second; jsonargparse serves ``train``."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn, get_args

from ssl_registry.cli.words import dashed
from ssl_registry.data.sources import SOURCES
from ssl_registry.errors import SSLRegistryError
from ssl_registry.run_options import RunOptions

__all__ = ["DEVICES", "QuickParser", "add_data_arguments", "add_trust", "data_arguments", "data_help"]


DEVICES = "such as cuda:0,cuda:1: batches are shared out among them (default: all GPUs, or the CPU)"
# What the commands after training take of the run's options.
DATA_OPTIONS = ("data", "data_root", "modality", "image_size", "batch_size", "workers")


class QuickParser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are one line; options can be written with dashes or underscores."""

    def __init__(self, command: str, description: str, **kwargs: Any) -> None:
        super().__init__(prog=f"ssl-registry {command}", description=description, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words with either spelling; words that are not known stay as they are."""
        spelt = {option.replace("-", "_"): option for action in self._actions for option in action.option_strings}
        words = []
        for word in args or ():
            flag, equals, value = word.partition("=")
            words.append(spelt.get(flag.replace("-", "_"), flag) + equals + value if word.startswith("--") else word)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints."""
        raise SSLRegistryError(f"{message}; see {self.prog} --help")


def data_help() -> str:
    """Return the help of ``--data``: every kind of source, those of plugins by their metadata."""
    return f"where samples come from: {SOURCES.describe()}"


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `data_arguments` reads: a source, where it differs from the run's, and how it is loaded."""
    group = parser.add_argument_group("data (default: as the run)")
    for name in DATA_OPTIONS:
        field = RunOptions.model_fields[name]
        words = data_help() if name == "data" else field.description or ""
        group.add_argument(
            dashed(name),
            type=int if int in (field.annotation, *get_args(field.annotation)) else str,
            # The run decides where nothing is said here.
            help=re.sub(r" \(default: .*?\)", "", words).replace("%", "%%"),
        )
    parser.set_defaults(batch_size=RunOptions.model_fields["batch_size"].default)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust``, for a command that reads a run or a checkpoint."""
    parser.add_argument("--trust", action="store_true", help=RunOptions.model_fields["trust"].description)


def data_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of Python's verbs that `add_data_arguments` parsed."""
    return {name: getattr(options, name) for name in DATA_OPTIONS}
