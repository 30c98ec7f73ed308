"""What a value out of a file would do beyond being a value; somebody must say so before it does.

A file that came from elsewhere (a checkpoint, an export, a run's configuration) may name a Python file, a command or an
address. Verbs ask here what its values would do, and stop with one line where the user neither said the same value
nor ``--trust``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ssl_registry.errors import TrustError

__all__ = ["WEIGHT_SOURCES", "Deed", "deed_of_backbone", "require_trust"]

# Arguments of timm that say where weights come from, and nothing of the network's shape.
WEIGHT_SOURCES = frozenset({"checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay"})


@dataclass(frozen=True)
class Deed:
    """What a value would do.

    Args:
        option: that has the value, as on the command line.
        value: in words.
        would: what comes of it, behind "would".
        at_once: whether it is done as soon as the value is read, whatever else is said of the option.
    """

    option: str
    value: str
    would: str
    at_once: bool = False


def deed_of_backbone(name: str | None, kwargs: Mapping[str, Any] | None = None) -> Deed | None:
    """Return what building a backbone would do beyond building it.

    >>> deed_of_backbone("net.py:Tiny").would
    'run the Python file net.py'
    >>> deed_of_backbone("resnet18", {"drop_rate": 0.1}) is None
    True
    """
    if name is not None and ".py:" in name:
        return Deed("backbone", name, f"run the Python file {name.rpartition(':')[0]}")
    if name is not None and not re.fullmatch(r"[\w.]+", name):
        return Deed("backbone", name, "fetch a network, or read one from elsewhere")
    sources = sorted(str(key) for key in kwargs or {} if key in WEIGHT_SOURCES)
    if sources:
        return Deed("backbone_kwargs", sources[0], "read weights from elsewhere")
    return None


def require_trust(found: Iterable[Deed | None], *, where: object, trust: bool, said: Collection[str] = ()) -> None:
    """Stop before the first deed that nobody said yes to.

    Args:
        found: what would be done.
        where: the file that says so.
        trust: whether the user trusts that file.
        said: options that the user gave himself.

    Raises:
        TrustError: with what would be done, and how to say yes.
    """
    if trust:
        return
    for deed in found:
        if deed is not None and (deed.at_once or deed.option not in said):
            raise TrustError(
                f"{where} says {deed.option}: {deed.value[:200]}, which would {deed.would[:200]}; if you know who "
                f"wrote it, add --trust (trust=True in Python)"
            )
