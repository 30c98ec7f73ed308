"""Finding methods: entry points and distribution metadata alone, without importing a plugin.

Importing this module imports no torch either, so that ``ssl-registry list`` answers at once.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import importlib_metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

__all__ = ["GROUP", "MethodInfo", "discover", "normalized"]

GROUP = "ssl_registry.methods"
CORE = "ssl-registry"
# Acted upon before anything of a plugin is imported. Comma-separated names of distributions or methods.
ALLOW_VARIABLE = "SSL_REGISTRY_PLUGINS"
BLOCK_VARIABLE = "SSL_REGISTRY_BLOCK"


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method without importing it.

    Args:
        name: the name that `Registry.create` takes.
        distribution: the distribution that provides it; None when registered in this process.
        version: that distribution's version.
        summary: one line of what it is.
        target: the entry point's value, ``"package.module:Class"``.
        requires: the requirement on the core, such as ``"<0.2,>=0.1"``; empty when it states none.
        status: ``ok``, ``local`` (registered in this process), ``blocked`` (by the environment),
            ``incompatible`` (with this core), ``conflict`` (another distribution has the name too) or ``broken``
            (its metadata cannot be read; `ssl_registry.discovery.health` says so of plugins that fail to import, too).
        problem: what is wrong, in words, and what mends it; empty when nothing is.
    """

    name: str
    distribution: str | None
    version: str
    summary: str
    target: str
    requires: str = ""
    status: str = "ok"
    problem: str = ""

    @property
    def qualified(self) -> str:
        """``distribution:name``, which is never ambiguous."""
        return f"{self.distribution}:{self.name}" if self.distribution else self.name


def discover() -> list[MethodInfo]:
    """List the methods of every installed distribution, sorted by name, with what stands in their way."""
    found = sorted(map(_judge, _installed()), key=lambda info: (info.name, info.distribution or ""))
    usable = [info.name for info in found if info.status == "ok"]
    return [_mark_conflict(info, found) if usable.count(info.name) > 1 else info for info in found]


def normalized(name: str) -> str:
    """Return a name in the one spelling that Unicode has for it, so that what looks alike is alike."""
    return unicodedata.normalize("NFC", name)


def _installed() -> Iterator[MethodInfo]:
    providers: dict[str, None] = {}  # in order, each once
    for distribution in importlib_metadata.distributions():
        try:
            # The text alone: to parse every distribution's entry points and metadata takes ten times as long.
            if GROUP in (distribution.read_text("entry_points.txt") or ""):
                providers[distribution.metadata["Name"] or ""] = None
        except Exception as error:  # a foreign distribution's files may hold anything
            yield from _unreadable(distribution, error)
    for name in providers:
        try:
            # Of several copies on the path the first one is what an import would find.
            yield from _methods_of(importlib_metadata.distribution(name))
        except Exception as error:
            yield _broken(name or "(no name)", error)


# Any: importlib-metadata 8 and 10 disagree on the type of what they give.
def _methods_of(distribution: Any) -> list[MethodInfo]:
    # Read once: each access parses the whole metadata file again.
    metadata = distribution.metadata
    return [
        MethodInfo(
            name=normalized(entry_point.name),
            distribution=metadata["Name"],
            version=_one_line(metadata["Version"]),
            summary=_one_line(metadata["Summary"]),
            target=entry_point.value,
            requires=_core_requirement(metadata.get_all("Requires-Dist") or []),
        )
        for entry_point in distribution.entry_points.select(group=GROUP)
    ]


def _unreadable(distribution: Any, error: Exception) -> Iterator[MethodInfo]:
    """Tell of a distribution whose files cannot be read, if it is one of ours."""
    folder = getattr(distribution, "_path", None)
    try:
        ours = folder is not None and GROUP.encode() in (folder / "entry_points.txt").read_bytes()
    except OSError:
        ours = False
    if ours:
        yield _broken(PurePath(str(folder)).name, error)


def _broken(distribution: str, error: Exception) -> MethodInfo:
    problem = f"its metadata cannot be read ({type(error).__name__}: {_one_line(str(error))}); install it again"
    return MethodInfo("(unreadable)", distribution, "", "", "", status="broken", problem=problem)


def _one_line(text: str | None) -> str:
    """Metadata are foreign text: nothing in them may break a row or steer a terminal."""
    return "".join(c for c in " ".join((text or "").split()) if c.isprintable())


def _core_requirement(requirements: list[str]) -> str:
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # another tool's dialect: it says nothing about the core
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) == CORE and applies:
            return str(requirement.specifier)
    return ""


def _judge(info: MethodInfo) -> MethodInfo:
    """Apply the environment's allow and block lists and the requirement on the core."""
    if info.status != "ok":
        return info
    names = {info.name, canonicalize_name(info.distribution or "")}
    allowed, blocked = _names(ALLOW_VARIABLE), _names(BLOCK_VARIABLE)
    if names & blocked:
        return replace(info, status="blocked", problem=f"blocked by {BLOCK_VARIABLE}; unset it to use this method")
    if ALLOW_VARIABLE in os.environ and not names & allowed:
        return replace(info, status="blocked", problem=f"not named in {ALLOW_VARIABLE}; add it there")
    version = _core_version()
    if info.requires and not Requirement(f"{CORE}{info.requires}").specifier.contains(version, prereleases=True):
        problem = (
            f"needs {CORE}{info.requires}, this is {version}; run: pip install --upgrade {CORE} {info.distribution}"
        )
        return replace(info, status="incompatible", problem=problem)
    return info


def _mark_conflict(info: MethodInfo, found: list[MethodInfo]) -> MethodInfo:
    if info.status != "ok":
        return info
    rivals = [other.qualified for other in found if other.name == info.name and other.status == "ok"]
    if len(set(rivals)) == 1:
        return replace(info, status="broken", problem="it declares this name twice; tell its author")
    return replace(info, status="conflict", problem=f"several distributions have it; choose {' or '.join(rivals)}")


def _names(variable: str) -> set[str]:
    # Method names are compared as they are, distributions in their canonical spelling.
    words = [word.strip() for word in os.environ.get(variable, "").split(",") if word.strip()]
    return {*words, *map(canonicalize_name, words)}


def _core_version() -> str:
    from ssl_registry._version import __version__

    return __version__
