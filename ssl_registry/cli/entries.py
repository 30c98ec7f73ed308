"""What plugins add, of every kind: methods, sources, export formats and backbones."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ssl_registry._registry import registry, with_local
from ssl_registry.data.sources import SOURCES
from ssl_registry.discovery.entry_points import EntryInfo, MethodInfo, discover
from ssl_registry.discovery.health import import_problem
from ssl_registry.discovery.tables import PluginTable
from ssl_registry.model.encoders import ENCODERS
from ssl_registry.workflows.export.formats import FORMATS

__all__ = ["TABLES", "checked", "list_entries", "load_entry"]

TABLES: dict[str, PluginTable[Any]] = {table.kind: table for table in (SOURCES, FORMATS, ENCODERS)}


def list_entries() -> list[EntryInfo]:
    """List every method, and the sources, formats and backbones that plugins add; nothing is imported."""
    found = discover()
    others = [TABLES[info.kind].beside_own(info) for info in found if info.kind in TABLES]
    return [*with_local(registry, (info for info in found if isinstance(info, MethodInfo))), *others]


def load_entry(kind: str, name: str) -> object:
    """Import what an entry point names and check it.

    Args:
        kind: of `ssl_registry.discovery.entry_points.GROUPS`.
        name: ``distribution:name``.

    Raises:
        SSLRegistryError: if it cannot be used.
    """
    if kind == "method":
        return registry.method_class(name)
    (info,) = [info for info in TABLES[kind].entries() if info.qualified == name]
    return TABLES[kind].load(info)


def checked(entries: list[EntryInfo], timeout: float) -> list[EntryInfo]:
    """Import each entry in a process of its own, as many at once as there are cores, and mark those that fail."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda info: _checked(info, timeout), entries))


def _checked(info: EntryInfo, timeout: float) -> EntryInfo:
    if info.status != "ok" and not (info.status == "conflict" and info.kind == "method"):
        return info
    problem = import_problem(info, timeout=timeout)
    return replace(info, status="broken", problem=problem) if problem else info
