"""`make check` chooses the tests of what changed, the nearest first."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from changed_tests import Tree, changed_files

FILES = {
    "ssl_registry/__init__.py": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from ssl_registry._registry import registry
    """,
    "ssl_registry/_registry.py": "registry = 1",
    "ssl_registry/nn/__init__.py": """
        from ssl_registry.nn.heads import MLP
        from ssl_registry.nn.gather import gather
    """,
    "ssl_registry/nn/heads.py": '''
        def MLP():
            """>>> MLP()"""
    ''',
    "ssl_registry/nn/gather.py": "def gather(): ...",
    "ssl_registry/data/images/cache.py": "",
    "plugins/byol/ssl_registry_byol/__init__.py": "from ssl_registry_byol.method import BYOL",
    "plugins/byol/ssl_registry_byol/method.py": """
        from ssl_registry.nn import MLP
        BYOL = MLP
    """,
    "plugins/byol/ssl_registry_byol/recipes/cifar10.yaml": "",
    "plugins/byol/tests/test_byol.py": "from ssl_registry_byol import BYOL",
    "tests/nn/test_heads.py": "",
    "tests/nn/test_gather.py": "from ssl_registry.nn import gather",
    "tests/data/test_cache.py": "",
    "tests/test_names.py": "from ssl_registry import registry",
    "tests/test_methods.py": "from ssl_registry_byol import BYOL",
    "tests/test_docs.py": "PAGES = ROOT / 'docs'\nTUTORIAL = 'docs/tutorial.md'",
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.splitlines()
        indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        path.write_text("\n".join(line[indent:] for line in lines))
    return Tree(tmp_path)


def distances(tree: Tree, *changed: str) -> dict[str, int]:
    return {path: distance for path, (distance, _) in tree.choose(changed).items()}


def test_changed_test_comes_first(tree):
    """A test that was edited runs, and nothing else does."""
    assert distances(tree, "tests/nn/test_heads.py") == {"tests/nn/test_heads.py": 0}


def test_names_are_followed_through_packages(tree):
    """Tests that use another name of the same package are not chosen; those two imports away are."""
    assert distances(tree, "ssl_registry/nn/heads.py") == {
        "ssl_registry/nn/heads.py": 0,
        "tests/nn/test_heads.py": 1,
        "plugins/byol/tests/test_byol.py": 2,
        "tests/test_methods.py": 2,
    }


def test_lazy_names_are_followed(tree):
    """A name that a package only declares for type checking leads to the module that defines it."""
    assert distances(tree, "ssl_registry/_registry.py") == {"tests/test_names.py": 1}


def test_folder_of_tests_mirrors_the_folders_below(tree):
    """tests/data holds the tests of ssl_registry/data/images too."""
    assert distances(tree, "ssl_registry/data/images/cache.py") == {"tests/data/test_cache.py": 1}


def test_plugin_is_tested_as_a_whole(tree):
    """Each test of a plugin belongs to each of its modules."""
    assert distances(tree, "plugins/byol/ssl_registry_byol/method.py") == {
        "plugins/byol/tests/test_byol.py": 1,
        "tests/test_methods.py": 1,
    }


def test_page_belongs_to_the_tests_that_name_it(tree):
    """A file that is no module is looked up by its name in the text of the tests."""
    assert distances(tree, "docs/tutorial.md") == {"tests/test_docs.py": 1}
    assert distances(tree, "docs/other.txt") == {}


def test_conftest_belongs_to_the_tests_beside_and_below(tree):
    """Fixtures reach every test of their folder."""
    assert list(distances(tree, "tests/nn/conftest.py")) == ["tests/nn/test_gather.py", "tests/nn/test_heads.py"]


def git(folder: Path, *words: str) -> None:
    name = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True)


def test_changes_are_those_since_the_branch_left_main(tmp_path, monkeypatch):
    """Commits of the branch, edits and new files count; what main has since does not."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-b", "main")
    for name in ("old", "edited"):
        (tmp_path / name).touch()
        git(tmp_path, "add", name)
        git(tmp_path, "commit", "-m", name)
    assert changed_files() == ["edited"]  # the last commit, where there is nothing else
    git(tmp_path, "switch", "-c", "branch")
    (tmp_path / "edited").write_text("edit")
    (tmp_path / "new").touch()
    assert changed_files() == ["edited", "new"]
    git(tmp_path, "add", "new")
    git(tmp_path, "commit", "-m", "new")
    git(tmp_path, "switch", "main")
    (tmp_path / "elsewhere").touch()
    git(tmp_path, "add", "elsewhere")
    git(tmp_path, "commit", "-m", "elsewhere")
    git(tmp_path, "switch", "branch")
    assert changed_files() == ["edited", "new"]
