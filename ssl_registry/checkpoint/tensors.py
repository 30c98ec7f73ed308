"""Tensors by name out of files that other toolboxes wrote, without running or importing what the files name."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_registry._system.archives import check_archive
from ssl_registry._system.terminal import one_line
from ssl_registry.errors import CheckpointError

__all__ = ["read_content", "tensors_by_name"]

# Limits of what is walked through: far beyond a checkpoint of a large network with its optimizer's state (about
# 10,000 tensors with names of under 200 letters, 6 levels deep), and little work.
MOST_ENTRIES = 200_000
MOST_LETTERS = 2**25
LONGEST_NAME = 1000
MOST_PARTS = 64
DEEPEST = 16

REWRITE = "where you trust it, load it with its own toolbox and write its weights: torch.save(model.state_dict(), FILE)"
# How torch has written since 1.6, and how it wrote before.
ZIP, PICKLE = b"PK\x03\x04", b"\x80\x02"
# Parts of names that come from wrappers, wherever they stand: torch.compile, FSDP, activation checkpointing.
WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})


class _LeftOut:
    """Stands where a file has an object of a class that is not tensors or plain values; it keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _LeftOut:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _LeftOutMapping:
    """The same for a class of mappings, which are filled entry by entry: torch does that with its own kinds alone."""

    def __new__(cls, *args: Any, **kwargs: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def read_content(file: Path) -> tuple[Any, tuple[str, ...]]:
    """Read what `torch.save` wrote, in the format of today or the one before torch 1.6.

    Where the file has objects of other classes (the parsed arguments that DINO and MAE keep beside their weights, a
    configuration, a NumPy number), an empty object takes the place of each: the class is not imported.

    Args:
        file: of any toolbox.

    Returns:
        The content, every tensor on the CPU, and the names of the classes and functions that were left out.

    Raises:
        CheckpointError: if it is damaged, or is no such file.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
        if start == ZIP:
            check_archive(file)
            named = sorted(set(torch.serialization.get_unsafe_globals_in_checkpoint(file)))
        elif start[:2] == PICKLE:
            # The old format cannot be asked for what it names; of published weights in it, arguments are usual.
            named = ["argparse.Namespace"]
        else:
            raise ValueError("it is empty" if not start else "it does not begin as such a file does")
        stand_ins: list[Any] = [
            (_LeftOutMapping if name.lower().endswith("dict") else _LeftOut, name) for name in named
        ]
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the file's protocol, and of storages in the old format
            return torch.load(file, map_location="cpu", weights_only=True), tuple(named)
    except Exception as error:  # zipfile, pickle and torch raise nearly anything for a file that is damaged
        reason = one_line(str(error).partition("\n")[0])[:300]
        raise CheckpointError(
            f"{file} cannot be read as a checkpoint; it is damaged, or holds code, which is refused ({reason}); "
            f"{REWRITE}"
        ) from error


def tensors_by_name(content: Any, file: Path, left_out: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return every tensor below nested mappings, with the keys on the way to it joined by dots.

    Args:
        content: as `read_content` gives it.
        file: for messages.
        left_out: classes of which it had objects, for messages.

    Raises:
        CheckpointError: if there is none, or more than any file of weights has.

    Example:
        >>> list(tensors_by_name({"epoch": 3, "teacher": {"module.fc.weight": torch.zeros(1)}}, Path("x.pth")))
        ['teacher.module.fc.weight']
    """
    found: dict[str, Tensor] = {}
    letters = 0
    for entries, (name, value) in enumerate(_walk(content, "", 0), start=1):
        letters += len(name)
        long = len(name) > LONGEST_NAME or name.count(".") >= MOST_PARTS
        if long or entries > MOST_ENTRIES or letters > MOST_LETTERS:
            raise CheckpointError(f"{file} holds more or longer names than a file of weights has; it is damaged")
        if isinstance(value, Tensor):
            name = ".".join(part for part in name.split(".") if part not in WRAPPERS)
            if name in found:
                raise CheckpointError(f"{file} has two tensors of the name {one_line(name)}; it is damaged")
            found[name] = value
    if not found:
        what = f", but objects of {one_line(', '.join(left_out))[:200]}, which are not built" if left_out else ""
        raise CheckpointError(f"{file} holds no tensors by name{what}; {REWRITE}")
    return found


def _walk(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield every entry below nested mappings; lists and objects hold no weights by name."""
    if not isinstance(value, Mapping) or depth > DEEPEST:
        yield name, value
        return
    for key, entry in value.items():
        if isinstance(key, str | int):
            yield from _walk(entry, f"{name}.{key}" if name else str(key), depth + 1)
