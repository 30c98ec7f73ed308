"""What a distribution imports, it declares: the core and every plugin, by their real imports."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from importlib_metadata import packages_distributions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in ROOT.glob("*/*/pyproject.toml"))
# Distributions whose names differ from what is imported and which an environment for tests lacks.
NOT_INSTALLED = {"umap": "umap-learn"}
# pytest imports `ssl_registry.testing.pytest_plugin`, and calls what else needs it there.
IMPORTED_BY_PYTEST = {"pytest"}
# Hooks take and return torch's tensors, so the core's requirement is the plugins' too.
PART_OF_THE_CONTRACT = {"torch"}
# Extras that users do not install.
FOR_CONTRIBUTORS = {"dev", "test", "docs", "bench"}


class Import(NamedTuple):
    """A module that a file imports, and whether it does so as soon as it is imported itself."""

    module: str
    where: str
    at_once: bool


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def distribution(module: str) -> str:
    """Return the distribution that an import comes from, by its canonical name."""
    top = module.partition(".")[0]
    if top.startswith("ssl_registry"):
        return canonicalize_name(top)
    found = known_distributions().get(top) or [NOT_INSTALLED.get(top, top)]
    return canonicalize_name(found[0])


@functools.cache
def known_distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def imports(node: ast.AST, where: str, at_once: bool = True) -> Iterator[Import]:
    """Yield what the code below a node imports, type checking aside."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, where, at_once) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield Import(child.module, where, at_once)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        else:
            is_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try)
            yield from imports(child, where, at_once and not is_later)


def read_imports(path: Path) -> Iterator[Import]:
    """Yield what a file imports that Python does not bring."""
    for found in imports(ast.parse(path.read_text()), str(path.relative_to(ROOT))):
        if found.module.partition(".")[0] not in sys.stdlib_module_names:
            yield found


def all_imports(folder: Path) -> Iterator[Import]:
    """Yield what a distribution imports from other ones."""
    packages = sorted(path.parent for path in folder.glob("ssl_registry*/__init__.py"))
    assert len(packages) == 1
    for path in sorted(packages[0].rglob("*.py")):
        yield from (found for found in read_imports(path) if found.module.partition(".")[0] != packages[0].name)


def declared_extras() -> dict[str, set[str]]:
    """Return what each extra of the core brings to its users."""
    extras = project(ROOT)["optional-dependencies"]
    return {name: names(lines) for name, lines in extras.items() if name not in FOR_CONTRIBUTORS}


def test_core_requires_what_it_imports_at_once():
    """Without extras every file of the core can be imported."""
    required = names(project(ROOT)["dependencies"])
    missing = {
        f"{found.where}: {found.module}"
        for found in all_imports(ROOT)
        if found.at_once and distribution(found.module) not in required | IMPORTED_BY_PYTEST
    }
    assert not missing


def test_core_offers_what_it_imports_later():
    """What a function imports is required, or an extra brings it."""
    offered = names(project(ROOT)["dependencies"]).union(*declared_extras().values())
    missing = {
        f"{found.where}: {found.module}"
        for found in all_imports(ROOT)
        if distribution(found.module) not in offered | IMPORTED_BY_PYTEST
    }
    assert not missing


def optional_imports() -> Iterator[Any]:
    """Yield the module and the extra of each call of `require`, in the core."""
    for path in sorted((ROOT / "ssl_registry").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
                values = [word.value for word in node.args[:2] if isinstance(word, ast.Constant)]
                if len(values) == 2:
                    yield pytest.param(*values, id=f"{path.stem}-{values[0]}")


@pytest.mark.parametrize(("module", "extra"), list(optional_imports()))
def test_message_about_a_missing_library_names_an_extra_that_brings_it(module, extra):
    """`pip install 'ssl-registry[EXTRA]'` of the message mends the error."""
    assert distribution(module) in declared_extras()[extra]


def test_extra_test_brings_what_tests_import():
    """`pip install -e '.[test]'` and the plugins are enough to run the tests."""
    extras = project(ROOT)["optional-dependencies"]
    brought = names(project(ROOT)["dependencies"] + extras["test"])
    for line in extras["test"]:
        brought |= {name for extra in Requirement(line).extras for name in names(extras[extra])}
    files = sorted([*ROOT.glob("tests/**/*.py"), *ROOT.glob("*/*/tests/**/*.py")])
    ours = {"tests", *(path.stem for path in files + list(ROOT.glob("*/*.py")))}
    missing = {
        f"{found.where}: {found.module}"
        for path in files
        for found in read_imports(path)
        if found.at_once
        and not found.module.startswith("ssl_registry")
        and found.module.partition(".")[0] not in ours
        and distribution(found.module) not in brought
    }
    assert not missing


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_plugin_requires_what_it_imports(folder):
    """A plugin declares the core and whatever else it imports, but torch."""
    required = names(project(folder)["dependencies"])
    imported = {distribution(found.module) for found in all_imports(folder)}
    assert imported - PART_OF_THE_CONTRACT <= required


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_plugin_requires_nothing_else(folder):
    """What a plugin declares, it imports."""
    imported = {distribution(found.module) for found in all_imports(folder)}
    assert names(project(folder)["dependencies"]) <= imported


def test_extra_all_names_every_plugin():
    """`pip install 'ssl-registry[all]'` brings each method of this repository."""
    ours = {canonicalize_name(project(folder)["name"]) for folder in PLUGINS if folder.parent.name == "plugins"}
    assert names(project(ROOT)["optional-dependencies"]["all"]) == ours


def test_import_contracts_hold_for_every_plugin():
    """`make lint` reads the imports of the core and of each plugin."""
    read = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"])
    ours = {path.name for path in ROOT.glob("plugins/*/ssl_registry_*")}
    assert read == {"ssl_registry", *ours}


def test_constraints_pin_each_requirement_once():
    """Contributors and CI install one version of what the tests and tools need."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [canonicalize_name(line.partition("==")[0]) for line in lines]
    assert pinned == sorted(set(pinned))
    extras = project(ROOT)["optional-dependencies"]
    needed = names(project(ROOT)["dependencies"] + extras["dev"] + extras["test"] + extras["docs"])
    assert needed - {"ssl-registry"} <= set(pinned)


def test_workflow_tries_each_python_that_is_declared():
    """The versions of Python in the classifiers are those that CI tests."""
    declared = re.findall(r"Python :: (3\.\d+)", " ".join(project(ROOT)["classifiers"]))
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    tried = re.search(r"python: (\[.*\])", workflow)
    assert tried
    assert ast.literal_eval(tried[1]) == declared
