"""Finding what plugins add: entry points and distribution metadata alone, without importing a plugin.

Importing this module imports no torch either, so that ``ssl-registry list`` answers at once.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePath
from typing import Any

import importlib_metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ssl_registry._system.terminal import one_line

__all__ = ["GROUPS", "EntryInfo", "MethodInfo", "discover", "discover_methods", "normalized"]

# What a plugin can add, and the group of entry points that it adds it to.
GROUPS = {
    "method": "ssl_registry.methods",
    "source": "ssl_registry.sources",
    "exporter": "ssl_registry.exporters",
    "backbone": "ssl_registry.backbones",
}
CORE = "ssl-registry"
# Acted upon before anything of a plugin is imported. Comma-separated names of distributions or entries.
ALLOW_VARIABLE = "SSL_REGISTRY_PLUGINS"
BLOCK_VARIABLE = "SSL_REGISTRY_BLOCK"


@dataclass(frozen=True)
class EntryInfo:
    """What is known of an entry point of a plugin without importing it.

    Args:
        name: by which users ask for it.
        distribution: the distribution that provides it; None when registered in this process.
        version: that distribution's version.
        summary: one line of what it is.
        target: the entry point's value, ``"package.module:name"``.
        requires: the requirement on the core, such as ``"<0.2,>=0.1"``; empty when it states none.
        status: ``ok``, ``local`` (registered in this process), ``blocked`` (by the environment),
            ``incompatible`` (with this core), ``conflict`` (another distribution, or the core, has the name too) or
            ``broken`` (its metadata cannot be read; `ssl_registry.discovery.health` says so of plugins that fail to
            import, too).
        problem: what is wrong, in words, and what mends it; empty when nothing is.
        kind: of `GROUPS`.
    """

    name: str
    distribution: str | None
    version: str
    summary: str
    target: str
    requires: str = ""
    status: str = "ok"
    problem: str = ""
    kind: str = "method"

    @property
    def origin(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.distribution} {self.version}"

    @property
    def qualified(self) -> str:
        """``distribution:name``, which is never ambiguous."""
        return f"{self.distribution}:{self.name}" if self.distribution else self.name


class MethodInfo(EntryInfo):
    """What is known of a method without importing it; `Registry.create` takes its ``name`` or ``distribution:name``."""


def discover_methods() -> list[MethodInfo]:
    """List the methods of every installed distribution, sorted by name, with what stands in their way."""
    return [info for info in discover(["method"]) if isinstance(info, MethodInfo)]


def discover(kinds: Sequence[str] = tuple(GROUPS)) -> list[EntryInfo]:
    """List what installed distributions add, by kind and name, with what stands in its way.

    Args:
        kinds: of `GROUPS`; all of them take no longer than one.
    """
    order = list(GROUPS)
    found = sorted(
        map(_judge, _installed(kinds)),
        key=lambda info: (order.index(info.kind), info.name, info.distribution or ""),
    )
    usable = [(info.kind, info.name) for info in found if info.status == "ok"]
    return [_mark_conflict(info, found) if usable.count((info.kind, info.name)) > 1 else info for info in found]


def normalized(name: str) -> str:
    """Return a name in the one spelling that Unicode has for it, so that what looks alike is alike."""
    return unicodedata.normalize("NFC", name)


def _installed(kinds: Sequence[str]) -> Iterator[EntryInfo]:
    providers: dict[str, str] = {}  # in order, each once, with the first kind that it provides
    for distribution in importlib_metadata.distributions():
        try:
            # The text alone: to parse every distribution's entry points and metadata takes ten times as long.
            kind = _first_kind(kinds, distribution.read_text("entry_points.txt") or "")
            if kind is not None:
                name = distribution.metadata.get("Name") or ""
                # A stale egg-info spells it with underscores: it is the same distribution.
                providers.setdefault(canonicalize_name(name), kind)
        except Exception as error:  # a foreign distribution's files may hold anything
            yield from _unreadable(distribution, kinds, error)
    for name, kind in providers.items():
        try:
            # Of several copies on the path the first one is what an import would find.
            yield from _entries_of(importlib_metadata.distribution(name), kinds)
        except Exception as error:
            yield _broken(name or "(no name)", kind, error)


def _first_kind(kinds: Sequence[str], entry_points: str) -> str | None:
    return next((kind for kind in kinds if GROUPS[kind] in entry_points), None)


# Any: importlib-metadata 8 and 10 disagree on the type of what they give.
def _entries_of(distribution: Any, kinds: Sequence[str]) -> list[EntryInfo]:
    # Read once: each access parses the whole metadata file again.
    metadata = distribution.metadata
    return [
        _named(
            _class_of(kind)(
                name=normalized(entry_point.name),
                distribution=metadata["Name"],
                version=_one_line(metadata.get("Version")),
                summary=_one_line(metadata.get("Summary")),
                target=entry_point.value,
                requires=_core_requirement(metadata.get_all("Requires-Dist") or []),
                kind=kind,
            )
        )
        for kind in kinds
        for entry_point in distribution.entry_points.select(group=GROUPS[kind])
    ]


def _named(info: EntryInfo) -> EntryInfo:
    """Refuse names that a terminal would act on, and show them written out."""
    shown = {field: one_line(getattr(info, field)) for field in ("name", "distribution", "target")}
    if all(getattr(info, field) == text for field, text in shown.items()):
        return info
    problem = "its metadata have names with characters that steer a terminal; tell its author"
    return replace(info, **shown, status="broken", problem=problem)


def _class_of(kind: str) -> type[EntryInfo]:
    return MethodInfo if kind == "method" else EntryInfo


def _unreadable(distribution: Any, kinds: Sequence[str], error: Exception) -> Iterator[EntryInfo]:
    """Tell of a distribution whose files cannot be read, if it is one of ours."""
    folder = getattr(distribution, "_path", None)
    try:
        text = "" if folder is None else (folder / "entry_points.txt").read_bytes().decode(errors="replace")
    except OSError:
        return
    if (kind := _first_kind(kinds, text)) is not None:
        yield _broken(PurePath(str(folder)).name, kind, error)


def _broken(distribution: str, kind: str, error: Exception) -> EntryInfo:
    problem = f"its metadata cannot be read ({type(error).__name__}: {one_line(error)}); install it again"
    shown = one_line(distribution)
    return _class_of(kind)("(unreadable)", shown, "", "", "", status="broken", problem=problem, kind=kind)


def _one_line(text: str | None) -> str:
    """Metadata are foreign text: nothing in them may break a row or steer a terminal."""
    return "".join(c for c in " ".join((text or "").split()) if c.isprintable())


def _core_requirement(requirements: list[str]) -> str:
    return next(filter(None, map(_on_core, requirements)), "")


@cache  # all first-party plugins say the same
def _on_core(text: str) -> str:
    """Return the range of versions that a requirement sets for the core; nothing if it is about something else."""
    if not canonicalize_name(text).startswith(CORE):
        return ""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return ""  # another tool's dialect: it says nothing about the core
    applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    return str(requirement.specifier) if canonicalize_name(requirement.name) == CORE and applies else ""


@cache
def _accepts(requires: str, version: str) -> bool:
    return Requirement(f"{CORE}{requires}").specifier.contains(version, prereleases=True)


def _judge(info: EntryInfo) -> EntryInfo:
    """Apply the environment's allow and block lists and the requirement on the core."""
    if info.status != "ok":
        return info
    names = {info.name, canonicalize_name(info.distribution or "")}
    allowed, blocked = _names(ALLOW_VARIABLE), _names(BLOCK_VARIABLE)
    if names & blocked:
        return replace(info, status="blocked", problem=f"blocked by {BLOCK_VARIABLE}; unset it to use this {info.kind}")
    if ALLOW_VARIABLE in os.environ and not names & allowed:
        return replace(info, status="blocked", problem=f"not named in {ALLOW_VARIABLE}; add it there")
    version = _core_version()
    if info.requires and not _accepts(info.requires, version):
        problem = (
            f"needs {CORE}{info.requires}, this is {version}; run: pip install --upgrade {CORE} {info.distribution}"
        )
        return replace(info, status="incompatible", problem=problem)
    return info


def _mark_conflict(info: EntryInfo, found: list[EntryInfo]) -> EntryInfo:
    if info.status != "ok":
        return info
    rivals = [other for other in found if (other.kind, other.name, other.status) == (info.kind, info.name, "ok")]
    if len({rival.qualified for rival in rivals}) == 1:
        return replace(info, status="broken", problem="it declares this name twice; tell its author")
    if info.kind == "method":
        way_out = f"choose {' or '.join(rival.qualified for rival in rivals)}"
    else:
        way_out = f"uninstall all but one of {', '.join(str(rival.distribution) for rival in rivals)}"
        way_out += f", or block them with {BLOCK_VARIABLE}"
    return replace(info, status="conflict", problem=f"several distributions have it; {way_out}")


def _names(variable: str) -> set[str]:
    # Entries' names are compared as they are, distributions in their canonical spelling.
    words = [word.strip() for word in os.environ.get(variable, "").split(",") if word.strip()]
    return {*words, *map(canonicalize_name, words)}


def _core_version() -> str:
    from ssl_registry._version import __version__

    return __version__
