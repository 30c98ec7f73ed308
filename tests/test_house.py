"""The floor plan, from the imports that really happen: those of type checking are left out."""

from collections import defaultdict
from pathlib import Path

import grimp
import networkx
import pytest

import ssl_registry

ROOM = Path(ssl_registry.__file__).parent
MOST_ENTRIES = 24  # a newcomer takes in the list at one look


@pytest.fixture(scope="module")
def imports():
    graph = grimp.build_graph("ssl_registry", exclude_type_checking_imports=True, cache_dir=None)
    return [(name, other) for name in graph.modules for other in graph.find_modules_directly_imported_by(name)]


def circles(edges):
    """Groups of nodes that reach each other."""
    found = networkx.strongly_connected_components(networkx.DiGraph(edges))
    return [sorted(group) for group in found if len(group) > 1]


def test_no_circle_between_files(imports):
    """Any file can be read with what it imports, and be done."""
    assert circles(imports) == []


def test_no_circle_between_packages(imports):
    """At every level: the rooms of the house, and the parts of each room."""
    levels = defaultdict(set)
    for name, other in imports:
        here, there = name.split("."), other.split(".")
        shared = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
        if shared is not None:  # a package and its own modules are one
            levels[".".join(here[:shared])].add((here[shared], there[shared]))
    assert {level: found for level, edges in levels.items() if (found := circles(edges))} == {}


def test_few_entries():
    """The folder list is the architecture."""
    entries = [path.name for path in ROOM.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_a_circle_is_found():
    """What the tests above rely on."""
    assert circles([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]) == [["a", "b", "c"]]
