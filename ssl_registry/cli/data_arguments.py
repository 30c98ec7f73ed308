"""Options of the commands after training, which read a run: its samples, and how they are loaded."""

from __future__ import annotations

import argparse
import re
from typing import Any, get_args

from ssl_registry.cli.words import dashed
from ssl_registry.data.options import ReadOptions
from ssl_registry.data.sources import SOURCES
from ssl_registry.run_options import RunOptions

__all__ = ["DEVICES", "PATH", "add_data_arguments", "add_network", "add_trust", "data_arguments", "data_help"]

PATH = "a run's folder, a checkpoint, an export, or with --backbone a file of weights of any toolbox"
DEVICES = "such as cuda:0,cuda:1: batches are shared out among them (default: all GPUs, or the CPU)"
# What the commands after training take of the run's options.
DATA_OPTIONS = ("data", *ReadOptions.__annotations__, "batch_size", "workers")


def data_help() -> str:
    """Return the help of ``--data``: every kind of source, those of plugins by their metadata."""
    return f"where samples come from: {SOURCES.describe()}"


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `data_arguments` reads: a source, where it differs from the run's, and how it is loaded."""
    group = parser.add_argument_group("data (default: as the run)")
    for name in DATA_OPTIONS:
        field = RunOptions.model_fields[name]
        words = data_help() if name == "data" else field.description or ""
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        group.add_argument(
            dashed(name),
            *extra.get("flags", ()),  # type: ignore[misc]  # a list of names, by `DataOptions`
            action="append" if name == "drop_columns" else "store",
            type=int if int in (field.annotation, *get_args(field.annotation)) else str,
            # The run decides where nothing is said here.
            help=re.sub(r" \(default: .*?\)", "", words).replace("%", "%%"),
        )
    parser.set_defaults(batch_size=256)


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add ``--network`` and ``--backbone``, for a command that takes one of a model's networks, or weights alone."""
    parser.add_argument(
        "--network",
        default="product",
        help="product: what the method's authors evaluate, such as DINO's teacher (default); backbone: what the "
        "gradient trained; of weights from elsewhere with several networks, a part of their names, such as teacher",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="the network of weights alone, which do not tell it: a timm name, or file.py:NAME of a callable that "
        "returns a module",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust``, for a command that reads a run or a checkpoint."""
    parser.add_argument("--trust", action="store_true", help=RunOptions.model_fields["trust"].description)


def data_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of Python's verbs that `add_data_arguments` parsed."""
    given = {name: getattr(options, name) for name in DATA_OPTIONS}
    named = [name.strip() for word in given["drop_columns"] or () for name in word.split(",")]
    return {**given, "drop_columns": tuple(name for name in named if name)}
