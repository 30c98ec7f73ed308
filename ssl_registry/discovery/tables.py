"""`PluginTable`: entries of one kind by name, the core's own and those that plugins add."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any, Generic, TypeVar

import importlib_metadata

from ssl_registry.discovery.entry_points import GROUPS, EntryInfo, discover
from ssl_registry.errors import PluginError

__all__ = ["PluginTable", "import_entry", "lazily"]

T = TypeVar("T")


def import_entry(info: EntryInfo) -> Any:
    """Import what an entry point names.

    Raises:
        PluginError: if its import fails, whatever it raises.
    """
    try:
        # What a plugin prints on import must not get into a command's output.
        with redirect_stdout(sys.stderr):
            return importlib_metadata.EntryPoint(info.name, info.target, GROUPS[info.kind]).load()
    except (Exception, SystemExit) as error:  # a plugin's import may raise anything; it breaks only itself
        raise PluginError(
            f"{info.name}: {info.origin} fails to import ({type(error).__name__}: {error}); "
            f"repair it with: pip install --force-reinstall {info.distribution}"
        ) from error


def lazily(target: str) -> Callable[..., Any]:
    """Return a function that imports another one when it is called.

    Args:
        target: ``"package.module:function"``.

    Example:
        >>> lazily("math:sqrt")(4.0)
        2.0
    """
    module, _, name = target.partition(":")

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    return call


class PluginTable(Generic[T]):
    """Entries of one kind by name.

    Listing imports nothing. A plugin is imported when its entry is asked for by name, or by `load`.

    Args:
        kind: of `entry_points.GROUPS`.
        own: the core's entries; a plugin cannot take their names.
        check: is given what an entry point named, and returns it, or raises a TypeError that says what is expected.
        reserved: further names that no plugin can take.

    Example:
        >>> table = PluginTable("exporter", {"timm": print}, check=lambda found: found)
        >>> table.names(), table.get("tim") is None
        (['timm'], True)
    """

    def __init__(
        self, kind: str, own: Mapping[str, T], *, check: Callable[[Any], T], reserved: Collection[str] = ()
    ) -> None:
        self.kind = kind
        self.own = dict(own)
        self._check = check
        self._reserved = frozenset(reserved)

    def entries(self) -> list[EntryInfo]:
        """List what plugins add, with what stands in its way; nothing is imported."""
        return [self.beside_own(info) for info in discover([self.kind])]

    def names(self) -> list[str]:
        """List the names that can be asked for: the core's, then those of plugins."""
        return [*self.own, *(info.name for info in self.entries() if info.status == "ok")]

    def get(self, name: str) -> T | None:
        """Return the entry of this name; None where there is none.

        Raises:
            PluginError: if a plugin has the name and cannot be used.
        """
        if name in self.own:
            return self.own[name]
        found = [info for info in self.entries() if info.name == name]
        return self.load(found[0]) if found and name not in self._reserved else None

    def load(self, info: EntryInfo) -> T:
        """Import an entry of `entries` and check it.

        Raises:
            PluginError: if it cannot be used.
        """
        if info.status != "ok":
            raise PluginError(f"{info.name} ({info.origin}): {info.problem}")
        found = import_entry(info)
        try:
            entry = self._check(found)
        except TypeError as error:
            raise PluginError(f"{info.name}: {info.target} of {info.origin} {error}; tell its author") from error
        own_name = getattr(entry, "name", info.name)
        if own_name != info.name:
            raise PluginError(f"{info.name}: {info.target} of {info.origin} calls itself {own_name!r}; tell its author")
        return entry

    def beside_own(self, info: EntryInfo) -> EntryInfo:
        """Mark an entry that `discover` found as a conflict, if its name is the core's."""
        if info.status != "ok" or (info.name not in self.own and info.name not in self._reserved):
            return info
        problem = f"the core has a {self.kind} of this name, which is used; the plugin needs another name"
        return replace(info, status="conflict", problem=problem)
