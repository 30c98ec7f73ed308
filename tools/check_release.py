"""Check that a tag may be released: `python tools/check_release.py v1.2.3`.

The core and its plugins are released together, under one version, from one tag. Versions stand in plain text
(`ssl_registry/_version.py` and each plugin's `pyproject.toml`) and are not derived from tags. In a shallow clone
hatch-vcs calls the core `0.1.dev1`, which the plugins' `ssl-registry>=0.1` refuses, and in a folder without `.git` it
fails; the version that checkpoints record would depend on how the code was fetched.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]


def release_faults(root: Path, tag: str) -> Iterator[str]:
    """Yield what keeps a tag from being released, in words.

    Args:
        root: folder of the checkout.
        tag: of git, as `v1.2.3`.
    """
    try:
        version = Version(tag.removeprefix("v"))
    except InvalidVersion:
        yield f"the tag {tag!r} is no version: name it v1.2.3"
        return
    if tag != f"v{version}":
        yield f"the tag is {tag!r}: name it v{version}"
    for project, found in distribution_versions(root).items():
        if Version(found) != version:
            yield f"{project} has version {found}, the tag says {version}"
    yield from _plugin_faults(root, version)
    yield from _changelog_faults((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)


def distribution_versions(root: Path) -> dict[str, str]:
    """Return the version of the core and of each plugin, by distribution."""
    text = (root / "ssl_registry/_version.py").read_text(encoding="utf-8")
    core = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    versions = {"ssl-registry": core[1] if core else "0"}
    for project in _plugins(root):
        versions[project["name"]] = project["version"]
    return versions


def _plugins(root: Path) -> list[dict[str, Any]]:
    return [_project(path) for path in sorted(root.glob("plugins/*/pyproject.toml"))]


def _project(path: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return project


def _plugin_faults(root: Path, version: Version) -> Iterator[str]:
    """Yield which plugins refuse the core of this version, or are not part of the extra `all`."""
    extra = _project(root / "pyproject.toml")["optional-dependencies"]["all"]
    together = {requirement.name: requirement for requirement in map(Requirement, extra)}
    plugins = _plugins(root)
    for project in plugins:
        needs = {r.name: r for r in map(Requirement, project["dependencies"])}["ssl-registry"]
        if not needs.specifier.contains(version, prereleases=True):
            yield f"{project['name']} requires {needs}, which refuses {version}"
        named = together.get(project["name"])
        if named is None:
            yield f"{project['name']} is not in the extra 'all' of pyproject.toml"
        elif not named.specifier.contains(version, prereleases=True):
            yield f"the extra 'all' of pyproject.toml asks for {named}, which refuses {version}"
    for name in sorted(together.keys() - {project["name"] for project in plugins}):
        yield f"the extra 'all' of pyproject.toml names {name}, which is not under plugins/"


def _changelog_faults(text: str, version: Version) -> Iterator[str]:
    heading = re.search(rf"^## {re.escape(str(version))} \((.+)\)$", text, re.MULTILINE)
    if heading is None:
        yield f"CHANGELOG.md has no heading '## {version} (date)'"
    elif not re.fullmatch(r"\d{4}-\d{2}-\d{2}", heading[1]):
        yield f"CHANGELOG.md says '{heading[1]}' for {version}, where the date of the release stands (2026-01-31)"


def main(argv: list[str]) -> int:
    """Print what is wrong with a tag; return 1 if anything is."""
    if len(argv) != 1:
        print("usage: python tools/check_release.py v1.2.3", file=sys.stderr)
        return 2
    faults = list(release_faults(ROOT, argv[0]))
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
