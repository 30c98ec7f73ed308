"""Names of torchvision's data sets, read from its source text: importing torchvision takes a second, and torch."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

__all__ = ["set_names"]

# Bases and stand-ins; for folders of images, give the folder.
NO_SETS = frozenset({"DatasetFolder", "ImageFolder", "VisionDataset", "FakeData"})


@cache
def set_names() -> tuple[str, ...]:
    """List the data sets that torchvision has; none where it is not installed.

    >>> "CIFAR10" in set_names(), "ImageFolder" in set_names()
    (True, False)
    """
    found = importlib.util.find_spec("torchvision")  # finds the folder, imports nothing
    if found is None or not found.submodule_search_locations:
        return ()
    source = Path(found.submodule_search_locations[0]) / "datasets" / "__init__.py"
    for statement in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "__all__":
            names: list[str] = ast.literal_eval(statement.value)
            return tuple(sorted(name for name in names if name[0].isupper() and name not in NO_SETS))
    return ()
