"""What the options of a run would do beyond being values: files to import, commands, addresses.

`ssl_registry._system.trust.require_trust` asks for the user's word before they do.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ssl_registry._system.trust import Deed, deed_of_backbone
from ssl_registry.data.sources import SOURCES

__all__ = ["deed_of_data", "deeds_of_settings"]

# How a run records samples that Python gave; nothing opens it.
IN_PYTHON = "python"
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
# A logger of these sends the run's values to a server.
REMOTE_LOGGERS = frozenset({"wandb", "mlflow"})
# How jsonargparse is told a class to import; and a name that it would take for one.
CLASS_KEYS = frozenset({"class_path", "init_args"})
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
# Arguments of Lightning's Trainer that take objects; of those of them that are strings, a dotted one is imported.
OBJECTS = frozenset({"accelerator", "callbacks", "logger", "plugins", "profiler", "strategy"})


def deed_of_data(spec: str | None) -> Deed | None:
    """Return what opening a source of samples would do beyond reading files of this machine.

    >>> deed_of_data("pipe:cat a.tar").would
    "run the command 'cat a.tar'"
    >>> deed_of_data("photos/*.tar"), deed_of_data("hf:ylecun/mnist")
    (None, None)
    """
    found = SCHEME.match((spec or "").removeprefix("shards:"))
    if spec is None or found is None or _is_local(found[1]):
        return None
    if found[1].lower() == "pipe":
        return Deed("data", spec, f"run the command {found.string[found.end() :]!r}")
    return Deed("data", spec, "fetch it, or run what a plugin does with it")


def _is_local(prefix: str) -> bool:
    """Tell whether a kind of source reads this disk alone; a plugin's may do anything."""
    kind = SOURCES.own.get(prefix)
    return prefix == IN_PYTHON or (kind is not None and kind.local)


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
