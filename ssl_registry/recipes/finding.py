"""Recipes of a method: every YAML under ``recipes/`` in its plugin's package that names the method.

The package is located, never imported: the import system finds a top-level package without running it, in a
wheel and in an editable installation alike.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry.discovery.entry_points import MethodInfo
from ssl_registry.errors import ConfigError, did_you_mean
from ssl_registry.recipes.reading import TrainingRecipe, read_recipe

__all__ = ["find_recipes", "load_recipe"]


def find_recipes(info: MethodInfo) -> dict[str, TrainingRecipe]:
    """Read the recipes that a method's plugin ships, by name: the file's, without its ending.

    Args:
        info: of the method, as ``registry.info(name)`` gives it.

    Raises:
        ConfigError: if one of the files is not a recipe.
    """
    if info.status == "local":  # registered in this process: there is no package to look into
        return {}
    files = [path for folder in _recipe_folders(info.target) for path in sorted(folder.rglob("*.yaml"))]
    recipes = (read_recipe(path, name=path.stem) for path in files)
    return {recipe.name: recipe for recipe in recipes if recipe.method == info.name}


def load_recipe(method: str, recipe: str, *, registry: Registry = default_registry) -> TrainingRecipe:
    """Return a method's recipe by name, or read the file that ``recipe`` is the path of.

    Args:
        method: its name.
        recipe: a name, or a path that ends in ``.yaml`` or ``.yml``.
        registry: where the method is looked up.

    Raises:
        MethodNotFoundError, PluginError: about the method.
        ConfigError: naming the recipes there are; or if the file is not one, or another method's.
    """
    info = registry.info(method)
    if recipe.endswith((".yaml", ".yml")):
        found = read_recipe(recipe)
        if found.method not in (None, info.name):
            raise ConfigError(f"{recipe} is a recipe of {found.method}, not of {info.name}")
        return found
    known = find_recipes(info)
    if recipe not in known:
        there = f"It has: {', '.join(sorted(known))}" if known else "It ships none"
        raise ConfigError(
            f"{info.name} has no recipe {recipe!r}.{did_you_mean(recipe, known)} {there}; "
            "the path of a .yaml file will do too"
        )
    return known[recipe]


def _recipe_folders(target: str) -> list[Path]:
    """Return the folders ``recipes`` of an entry point's top-level package, where there are any."""
    package = target.partition(":")[0].partition(".")[0]
    spec = find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return [Path(location) / "recipes" for location in locations or ()]
