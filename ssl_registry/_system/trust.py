"""What a value out of a file would do beyond being a value; somebody must say so before it does.

A file that came from elsewhere (a checkpoint, an export, a run's configuration) may name a Python file, a command or an
address. Verbs ask here what its values would do, and stop with one line where the user neither said the same value
nor ``--trust``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ssl_registry.errors import TrustError

__all__ = ["WEIGHT_SOURCES", "Deed", "deed_of_backbone", "deed_of_data", "deeds_of_settings", "require_trust"]

# Arguments of timm that say where weights come from, and nothing of the network's shape.
WEIGHT_SOURCES = frozenset({"checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay"})
# Kinds of sources that stay on the disk, by the name that may stand before what they open; ``hf`` and ``torchvision``
# open what was fetched before, and ``python`` opens nothing. A plugin's kind may do anything.
LOCAL = frozenset({"arrays", "csv", "digits", "folder", "hf", "parquet", "python", "torchvision"})
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
# A logger of these sends the run's values to a server.
REMOTE_LOGGERS = frozenset({"wandb", "mlflow"})
# How jsonargparse is told a class to import; and a name that it would take for one.
CLASS_KEYS = frozenset({"class_path", "init_args"})
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
# Arguments of Lightning's Trainer that take objects; of those of them that are strings, a dotted one is imported.
OBJECTS = frozenset({"accelerator", "callbacks", "logger", "plugins", "profiler", "strategy"})


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


def deed_of_data(spec: str | None) -> Deed | None:
    """Return what opening a source of samples would do beyond reading files of this machine.

    >>> deed_of_data("pipe:cat a.tar").would
    "run the command 'cat a.tar'"
    >>> deed_of_data("photos/*.tar"), deed_of_data("hf:ylecun/mnist")
    (None, None)
    """
    found = SCHEME.match((spec or "").removeprefix("shards:"))
    if spec is None or found is None or found[1] in LOCAL:
        return None
    if found[1].lower() == "pipe":
        return Deed("data", spec, f"run the command {found.string[found.end() :]!r}")
    return Deed("data", spec, "fetch it, or run what a plugin does with it")


def deeds_of_settings(settings: Mapping[str, Any], *, objects: Collection[str] = ()) -> Iterator[Deed]:
    """Yield what the options of a training would do.

    Args:
        settings: options of ``train`` by name, with the Trainer's under ``trainer``.
        objects: options of the method that take classes or functions, which the parser imports by name.
    """
    backbone, kwargs = settings.get("backbone"), settings.get("backbone_kwargs")
    found = deed_of_backbone(
        backbone if isinstance(backbone, str) else None, kwargs if isinstance(kwargs, Mapping) else None
    )
    if found is not None:
        yield found
    for option in ("data", "test_data"):
        data = settings.get(option)
        if isinstance(data, str) and (opened := deed_of_data(data)) is not None:
            yield replace(opened, option=option)
    if settings.get("pretrained") not in (None, False):
        yield Deed("pretrained", str(settings["pretrained"]), "fetch timm's weights where they are not on this disk")
    for name in str(settings.get("logger") or "").split(","):
        if name.strip() in REMOTE_LOGGERS:
            yield Deed("logger", name.strip(), "send the run's values to a server")
    takes_objects = {*objects, *(f"trainer.{name}" for name in OBJECTS)}
    for option, value in settings.items():
        yield from _imports(str(option), value, takes_objects)


def _imports(option: str, value: Any, objects: Collection[str]) -> Iterator[Deed]:
    """Yield what the command line's parser would import for a value."""
    if isinstance(value, Mapping):
        for key in sorted(map(str, CLASS_KEYS & value.keys())):
            yield Deed(option, f"{key}: {value[key]}", f"import {value[key]}", at_once=True)
        for key, entry in value.items():
            yield from _imports(f"{option}.{key}", entry, objects)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _imports(option, entry, objects)
    elif isinstance(value, str) and DOTTED.fullmatch(value) and any(f"{option}.".startswith(f"{n}.") for n in objects):
        yield Deed(option, value, f"import {value}", at_once=True)


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
