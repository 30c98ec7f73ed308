"""Run the tests of what changed: `make check`.

A test file is chosen by how near it is to a changed file:

0. it changed itself, or the changed module has doctests;
1. it mirrors the changed module (`ssl_registry/nn/heads.py`: `tests/nn/test_heads.py`), belongs to the changed plugin,
   or imports what the module defines, also through a package that exports the name (`from ssl_registry.nn import MLP`);
2. it imports a module that imports what the module defines.

For a file that is no module (a page, a workflow, `pyproject.toml`) these are the tests whose text names the file or, in
quotes, its top folder. The nearest tests run first. At the time limit the rest is left to `make test` and printed.

Imports are read here and not taken from grimp's graph: there a package that passes names on, like `ssl_registry.nn`,
brings everybody who imports any of its names near to each of its files. pytest-testmon would have to run the whole
suite once before it can choose; pytest-picked runs changed test files, but not the tests of changed sources.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath


class Source:
    """What one Python file imports.

    Args:
        path: of the file.
        module: its dotted name; a test has none.
    """

    def __init__(self, path: Path, module: str = "") -> None:
        self.text = path.read_text(encoding="utf-8")
        self.module = module
        self.bound: dict[str, str] = {}  # a name in this file, and the dotted name it stands for
        self.imported: set[str] = set()  # dotted names, those for type checking left out
        self._read(ast.parse(self.text).body, typing=False)

    def _read(self, nodes: Iterable[ast.AST], typing: bool) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                self._add(((alias.name, alias.name) for alias in node.names), typing)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                origin = node.module
                self._add(((alias.asname or alias.name, f"{origin}.{alias.name}") for alias in node.names), typing)
            elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                self._read(node.body, typing=True)
                self._read(node.orelse, typing)
            else:
                self._read(ast.iter_child_nodes(node), typing)

    def _add(self, names: Iterable[tuple[str, str]], typing: bool) -> None:
        for name, dotted in names:
            self.bound[name] = dotted
            if not typing:
                self.imported.add(dotted)


class Tree:
    """The modules and tests of a checkout, and which imports which.

    Args:
        root: folder of the checkout.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, Source] = {}
        self.module_of: dict[str, str] = {}
        for package in sorted([root / "ssl_registry", *root.glob("*/*/ssl_registry_*")]):
            for path in sorted(package.rglob("*.py")):
                parts = path.relative_to(package.parent).with_suffix("").parts
                module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                self.modules[module] = Source(path, module)
                self.module_of[path.relative_to(root).as_posix()] = module
        paths = sorted([*root.glob("tests/**/test_*.py"), *root.glob("*/*/tests/**/test_*.py")])
        self.tests = {path.relative_to(root).as_posix(): Source(path) for path in paths}

    def defining(self, dotted: str) -> str | None:
        """Return the module that defines a dotted name, followed through the packages that only pass it on."""
        module, names = dotted, []
        while module not in self.modules:
            module, _, name = module.rpartition(".")
            if not module:
                return None
            names.append(name)
        origin = self.modules[module].bound.get(names[-1]) if names else None
        return (self.defining(origin) if origin else None) or module

    def uses(self, source: Source) -> set[str]:
        """Return the modules that a file imports something from."""
        return {found for found in map(self.defining, source.imported) if found and found != source.module}

    @cached_property
    def importers(self) -> dict[str, set[str]]:
        """The modules that import something from a module, for each module."""
        found: dict[str, set[str]] = {module: set() for module in self.modules}
        for module, source in self.modules.items():
            for used in self.uses(source):
                found[used].add(module)
        return found

    def choose(self, changed: Iterable[str]) -> dict[str, tuple[int, str]]:
        """Return the files to hand to pytest, nearest first, each with its distance and the reason.

        Args:
            changed: paths of changed files, as git writes them.
        """
        chosen: dict[str, tuple[int, str]] = {}
        for path in changed:
            for distance, test, why in self._of(path):
                chosen[test] = min(chosen.get(test, (distance, why)), (distance, why))
        return dict(sorted(chosen.items(), key=lambda item: (item[1][0], item[0])))

    def _of(self, path: str) -> Iterator[tuple[int, str, str]]:
        if path in self.tests:
            yield 0, path, "changed"
        elif path in self.module_of:
            yield from self._of_module(path, self.module_of[path])
        else:
            yield from self._of_other(path)

    def _of_module(self, path: str, module: str) -> Iterator[tuple[int, str, str]]:
        if ">>> " in self.modules[module].text:
            yield 0, path, "its doctests"
        direct = self.importers[module]
        for test, source in self.tests.items():
            uses = self.uses(source)
            if _mirrors(test, path):
                yield 1, test, f"mirrors {path}"
            elif module in uses:
                yield 1, test, f"imports {module}"
            elif nearest := sorted(direct & uses):
                yield 2, test, f"imports {nearest[0]}, which imports {module}"

    def _of_other(self, path: str) -> Iterator[tuple[int, str, str]]:
        name = PurePosixPath(path)
        if name.name == "conftest.py":
            yield from ((1, test, f"beside {path}") for test in self.tests if test.startswith(f"{name.parent}/"))
            return
        # A helper is imported by its stem; anything else is opened by its name, or found in its folder.
        patterns = [rf"\b{re.escape(name.name)}\b"]
        if name.suffix == ".py":
            patterns.append(rf"^\s*(?:from|import) {re.escape(name.stem)}\b")
        elif len(name.parts) > 1:
            patterns.append(rf'"{re.escape(name.parts[0])}["/]')
        for test, source in self.tests.items():
            if any(re.search(pattern, source.text, re.MULTILINE) for pattern in patterns):
                yield 1, test, f"names {path} or its folder"


def _mirrors(test: str, path: str) -> bool:
    """Tell whether a test has its module's place and name; a plugin's tests mirror the whole plugin."""
    tests, source = PurePosixPath(test), PurePosixPath(path)
    if source.parts[0] != "ssl_registry":
        return tests.parts[:2] == source.parts[:2]
    stem = source.parent.name if source.stem == "__init__" else source.stem
    return _is_within(source, tests) and bool(re.search(rf"_{re.escape(stem)}(_|$)", tests.stem))


def _is_within(source: PurePosixPath, test: PurePosixPath) -> bool:
    """Tell whether a module lies in the folder that a test's folder mirrors, or below it."""
    folder = test.parts[1:-1]
    return source.parts[1 : 1 + len(folder)] == folder


def _git(*words: str) -> list[str]:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.splitlines()


def changed_files(base: str | None = None) -> list[str]:
    """Return the files that differ from where this branch left main; without commits of its own, from the last one.

    Args:
        base: another commit to compare with.
    """
    new = _git("ls-files", "--others", "--exclude-standard")
    if base is None:
        head = _git("rev-parse", "HEAD")
        known = _git("for-each-ref", "--format=%(refname:short)", "refs/heads/main", "refs/remotes/origin/main")
        base = (_git("merge-base", known[0], "HEAD") if known else head)[0]
        if base == head[0] and not new and not _git("diff", "--name-only", "HEAD"):
            base = "HEAD~"
    return sorted({*_git("diff", "--name-only", base), *new})


def main(argv: list[str] | None = None) -> int:
    """Choose the tests and run them; return pytest's exit code."""
    parser = argparse.ArgumentParser(description="Run the tests of what changed, the nearest first.")
    parser.add_argument("--base", help="commit to compare with (default: where the branch left main)")
    parser.add_argument("--seconds", type=float, default=90, help="after which no further test begins (default: 90)")
    parser.add_argument("--list", action="store_true", help="print the choice and run nothing")
    arguments = parser.parse_args(argv)
    root = Path(_git("rev-parse", "--show-toplevel")[0])
    chosen = Tree(root).choose(changed_files(arguments.base))
    for path, (distance, why) in chosen.items():
        print(f"{distance}  {path}  ({why})")
    if not chosen:
        print("no test belongs to what changed")
    if arguments.list or not chosen:
        return 0
    # Two tests a worker at a time: larger shares would begin with files from the middle of the choice.
    words = ["-q", "-n", "2", "--maxschedchunk", "1", "-m", "not slow"]
    words += ["-p", "time_limit", "--deadline", str(time.time() + arguments.seconds)]
    path = os.pathsep.join(filter(None, [str(root / "tools"), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", *words, *chosen]
    return subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": path}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
